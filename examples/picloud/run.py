# pip install websocket-client requests && python3 examples/picloud/run.py
"""Starts a router for picloud's clients, a publisher and a subscriber, in a folder of its own.

Needs weir: built by `cargo xtask build`, or at the path in WEIR. PORT (9000) is the router's.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
WEIR = os.environ.get("WEIR", HERE.parent.parent / "target/release/weir")
os.environ["API_KEY"] = "secretapikey"

with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder, "data")
    running = [subprocess.Popen([WEIR, "serve", "--picloud", "--data", data], cwd=folder)]
    try:
        addresses = data / "addresses.json"
        while not addresses.exists():
            assert running[0].poll() is None, "the router has ended"
            time.sleep(0.05)
        at = json.loads(addresses.read_text())["picloud"].replace("0.0.0.0", "127.0.0.1")
        running.append(subprocess.Popen([sys.executable, HERE / "publisher.py", f"http://{at}"]))
        subprocess.run([sys.executable, HERE / "subscriber.py", f"ws://{at}", "3"], check=True)
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()
