# API_KEY=secretapikey python3 examples/picloud/publisher.py http://127.0.0.1:9000
"""Publishes this machine's load as picloud event `load`, every half second.

Beside it runs a router: `API_KEY=secretapikey weir serve --picloud --data DIR`.
"""

import os
import sys
import time

import requests

headers = {"X-API-Key": os.environ["API_KEY"], "X-API-Client-Name": "publisher"}
while True:
    event = {"event": "load", "data": str(os.getloadavg()[0])}
    answer = requests.post(f"{sys.argv[1]}/publish", json=event, headers=headers, timeout=10)
    if answer.status_code != 201:
        sys.exit(f"publisher: {answer.status_code} {answer.text}")
    time.sleep(0.5)
