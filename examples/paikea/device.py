# python3 examples/paikea/device.py ws://127.0.0.1:7777/iam1
"""A device as Paikea's firmware has it: it sends its state when it is connected and after every command.

Beside it runs a router: `weir serve --paikea --data DIR`.
"""

import json
import sys
import time

from websocket import Closed, WebSocket

RETRY_SECONDS = 1
state = {"iam": "iam1", "dev": "tracker", "batt/main_v": 3.9, "lora/running": False, "wifi/net/ip": "192.168.4.2"}


def answer(text):
    """What the device says to a message: objects, one after the other."""
    try:
        command, name, _arguments = json.loads(text)
        if command == "GET":
            yield {path: value for path, value in state.items() if path.startswith(name)}
        elif command == "CMD" and name in ("start_lora", "stop_lora"):
            state["lora/running"] = name == "start_lora"
            yield {"info": "Done"}
            yield state
        else:
            raise ValueError(f"no such command: {command} {name}")
    except (ValueError, TypeError) as error:
        for said in ("Malformed Request", text, str(error)):
            yield {"error": said}


while True:
    try:
        server = WebSocket(sys.argv[1])
        server.send(json.dumps(state))
        while True:
            for said in answer(server.receive()):
                server.send(json.dumps(said))
    except (Closed, OSError) as error:
        print(f"device: {error}, trying again", flush=True)
        time.sleep(RETRY_SECONDS)
