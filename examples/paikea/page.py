# python3 examples/paikea/page.py ws://127.0.0.1:7770/iam1
"""A page without a browser: it commands the device of its key, and shows what that says.

Beside it run a router, `weir serve --paikea --data DIR`, and device.py.
"""

import json
import sys

from websocket import WebSocket

server = WebSocket(sys.argv[1], seconds=1)


def command(*words, until):
    """Says it until the device has answered: what finds no device is dropped."""
    while True:
        server.send(json.dumps(words))
        try:
            while True:
                said = json.loads(server.receive())
                print(f"page: {words[0]} {words[1]}: {said}", flush=True)
                if until in said:
                    return said
        except TimeoutError:
            print("page: no device yet", flush=True)


command("GET", "wifi", [], until="wifi/net/ip")
assert command("CMD", "start_lora", [], until="lora/running")["lora/running"]
command("CMD", "dance", [], until="error")
