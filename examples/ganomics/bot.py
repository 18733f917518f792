# python3 examples/ganomics/bot.py ws://127.0.0.1:8018/ws/ tablet-1
"""A tablet that plays a whole game of Ganomics by itself, and says how it went.

Beside it run a router, `weir serve --ganomics --data DIR`, and three more of these.
"""

import json
import random
import sys
import time

import websocket

POLL_SECONDS = 0.1


class Bot:
    def __init__(self, url, device):
        self.socket = websocket.create_connection(url, timeout=60)
        self.device = device
        self.user = None

    def request(self, demand, **fields):
        """Asks, and passes over what its groups are told meanwhile: that names no demand."""
        self.socket.send(json.dumps({"demand": demand, **fields}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("demand") == demand:
                return answer

    def everybody(self, demand, **fields):
        """Asks again until nobody has to be waited for."""
        while True:
            answer = self.request(demand, **fields)
            if not answer["wait"]:
                return answer
            time.sleep(POLL_SECONDS)

    def desired(self, goods, hand):
        """What it consumes is good 1, and what it makes good 0."""
        return random.choice([good for good in range(goods) if good != hand])

    def after(self, success, desired, hand):
        """The good that it holds behind an exchange."""
        if not success:
            return hand
        return 0 if desired == 1 else desired

    def play(self):
        start = self.everybody("init", deviceId=self.device)
        self.user, step, goods = start["userId"], start["step"], start["nGood"]
        print(f"{self.device}: I am {start['pseudo']}, at {step}", flush=True)
        if step == "survey":
            self.everybody("survey", userId=self.user, age=31, sex="female")
        if step in ("survey", "training"):
            self.train(start, goods)
            self.everybody("training_done", userId=self.user)
        hand, score = start["goodInHand"], start["score"]
        for t in range(start["t"], start["tMax"]):
            desired = self.desired(goods, hand)
            result = self.everybody("choice", userId=self.user, good=desired, t=t)
            assert result["t"] == t and result["end"] == (t + 1 == start["tMax"]), result
            hand, score = self.after(result["success"], desired, hand), result["score"]
        print(f"{self.device}: my score is {score}", flush=True)

    def train(self, start, goods):
        hand = start["trainingGoodInHand"]
        for t in range(start["trainingT"], start["trainingTMax"]):
            desired = self.desired(goods, hand)
            result = self.request("training_choice", userId=self.user, good=desired, t=t)
            assert result["trainingEnd"] == (t + 1 == start["trainingTMax"]), result
            hand = self.after(result["trainingSuccess"], desired, hand)


if __name__ == "__main__":
    Bot(*sys.argv[1:3]).play()
