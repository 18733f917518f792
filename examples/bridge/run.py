# python3 examples/bridge/run.py
"""A picloud event appears in a room and on a Paikea page, and what is said in the room is a picloud event.

Needs Python and weir: built by `cargo xtask build`, or at the path in WEIR. weir.toml and plugins/ beside this are the
router's; it runs in a folder of its own.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "paikea"))
from websocket import WebSocket  # noqa: E402

WEIR = os.environ.get("WEIR", HERE.parent.parent / "target/release/weir")


def weir(*words):
    return subprocess.run([WEIR, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def publish(event, data):
    body = json.dumps({"event": event, "data": data}).encode()
    request = urllib.request.Request(f"http://{at['picloud']}/publish?clientName=bell", body, method="POST")
    assert urllib.request.urlopen(request).status == 201


with tempfile.TemporaryDirectory() as folder:
    shutil.copytree(HERE, folder, dirs_exist_ok=True)
    router = subprocess.Popen([WEIR, "serve"], cwd=folder)
    try:
        addresses = pathlib.Path(folder, "data/addresses.json")
        while not addresses.exists():
            assert router.poll() is None, "the router has ended"
            time.sleep(0.05)
        at = json.loads(addresses.read_text())
        weir("user", "create", "alice")
        weir("room", "create", "alice", "lobby")
        code = weir("endpoint", "create", "alice", "lobby", "readwrite", "--identity", "porter")

        page = WebSocket(f"ws://{at['paikea-page']}/door", seconds=30)
        room = WebSocket(f"ws://{at['rooms']}/ws/endpoint/{code}/", seconds=30)
        subscriber = WebSocket(f"ws://{at['picloud']}/subscribe?clientName=porter", seconds=30)
        subscriber.send(json.dumps({"action": "subscribe", "event": "lobby"}))

        publish("door", "open")
        print("page:", page.receive())
        print("room:", room.receive())
        room.send(json.dumps({"message": "come in"}))
        print("picloud:", subscriber.receive().strip())
    finally:
        router.terminate()
        router.wait()
