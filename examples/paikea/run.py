# python3 examples/paikea/run.py
"""Starts a router for Paikea's clients, a device, and a page that commands it, in a folder of its own.

Needs Python and weir: built by `cargo xtask build`, or at the path in WEIR. More arguments go to `weir serve`.
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

with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder, "data")
    running = [subprocess.Popen([WEIR, "serve", "--paikea", "--data", data, *sys.argv[1:]], cwd=folder)]
    try:
        addresses = data / "addresses.json"
        while not addresses.exists():
            assert running[0].poll() is None, "the router has ended"
            time.sleep(0.05)
        listens = json.loads(addresses.read_text())
        device, page = (
            [sys.executable, HERE / f"{name}.py", f"ws://{listens[f'paikea-{name}'].replace('0.0.0.0', '127.0.0.1')}/iam1"]
            for name in ("device", "page")
        )
        running.append(subprocess.Popen(device))
        subprocess.run(page, check=True)
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()
    for log in pathlib.Path(folder).glob("device_server.log"):
        print(log.read_text(), end="")
