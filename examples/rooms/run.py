# python3 examples/rooms/run.py
"""A room with two who talk and one who listens, made over HTTP as clients of the rooms' own server make it.

Needs Python and weir: built by `cargo xtask build`, or at the path in WEIR. More arguments go to `weir serve`.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "paikea"))
from websocket import WebSocket  # noqa: E402

WEIR = os.environ.get("WEIR", HERE.parent.parent / "target/release/weir")

with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder, "data")
    router = subprocess.Popen([WEIR, "serve", "--rooms", "--data", data, *sys.argv[1:]], cwd=folder)
    try:
        addresses = data / "addresses.json"
        while not addresses.exists():
            assert router.poll() is None, "the router has ended"
            time.sleep(0.05)
        at = json.loads(addresses.read_text())["rooms"]
        user = [WEIR, "user", "create", "alice", "--data", data]
        key = subprocess.run(user, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

        def ask(path, **body):
            request = urllib.request.Request(f"http://{at}{path}", json.dumps(body).encode(), {"API-KEY": key})
            return urllib.request.urlopen(request).read().decode()

        def endpoint(permissions, identity):
            made = ask("/add_endpoint/", room_name="kitchen", permissions=permissions, identity=identity)
            return WebSocket(f"ws://{at}/ws/endpoint/{json.loads(made)['code']}/", seconds=30)

        print(ask("/create_room/", room_name="kitchen"))
        cook, guest, board = endpoint("readwrite", "cook"), endpoint("readwrite", "guest"), endpoint("read", "board")
        cook.send(json.dumps({"message": "dinner is ready"}))
        heard = json.loads(guest.receive())
        guest.send(json.dumps({"message": f"thank you, {heard['identity']}"}))
        for _ in range(2):
            print("board:", board.receive())
    finally:
        router.terminate()
        router.wait()
