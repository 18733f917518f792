# API_KEY=secretapikey python3 examples/picloud/subscriber.py ws://127.0.0.1:9000
"""Shows picloud event `load`, for ever or so many times as its second argument says.

Beside it run a router, `API_KEY=secretapikey weir serve --picloud --data DIR`, and publisher.py.
"""

import itertools
import json
import os
import sys

import websocket

server = websocket.create_connection(
    f"{sys.argv[1]}/subscribe?clientName=subscriber", header=["X-API-Key: " + os.environ["API_KEY"]]
)
server.send(json.dumps({"action": "subscribe", "event": "load"}))
for _ in range(int(sys.argv[2])) if len(sys.argv) > 2 else itertools.count():
    event = json.loads(server.recv())
    print(f"subscriber: {event['event']} {event['data']} at {event['created_at']}", flush=True)
