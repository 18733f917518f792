# pip install websocket-client && python3 examples/ganomics/run.py
"""Starts a router with the game, and four tablets that play it to the end, in a folder of its own.

Needs weir: built by `cargo xtask build`, or at the path in WEIR. More arguments go to `weir serve`.
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
PLAYERS = 4

with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder, "data")
    running = [subprocess.Popen([WEIR, "serve", "--ganomics", "--data", data, *sys.argv[1:]], cwd=folder)]
    try:
        addresses = data / "addresses.json"
        while not addresses.exists():
            assert running[0].poll() is None, "the router has ended"
            time.sleep(0.05)
        url = f"ws://{json.loads(addresses.read_text())['ganomics']}/ws/"
        tablets = [
            subprocess.Popen([sys.executable, HERE / "bot.py", url, f"tablet-{number}"])
            for number in range(1, PLAYERS + 1)
        ]
        running += tablets
        for tablet in tablets:
            assert tablet.wait() == 0, "a tablet has given up"
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()
