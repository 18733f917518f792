"""`weir.py` against a router that is ended, frozen and started again.

Started by `host/tests/all/clients.rs`, which says in WEIR_URL where the router is, and does to it what is asked for
at WEIR_CONTROL.
"""

import collections
import os
import pathlib
import socket
import sys
import threading
import types
import unittest
import unittest.mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from weir import Subscription, Weir, WeirError, meet, payload  # noqa: E402

PATIENCE = 60
HOST, PORT = os.environ["WEIR_CONTROL"].split(":")


def control(command):
    """Asks for something to happen to the router, and waits until it has."""
    with socket.create_connection((HOST, int(PORT))) as link:
        link.sendall(f"{command}\n".encode())
        answer = link.makefile().readline()
    assert answer.endswith("\n"), f"{command} failed"
    return answer.strip()


class Seen:
    """What a handler got; it can be awaited."""

    def __init__(self):
        self.all, self.changed = [], threading.Condition()

    def add(self, value):
        with self.changed:
            self.all.append(value)
            self.changed.notify_all()

    def data(self, message):
        self.add(message["data"])

    def state(self, state, _):
        self.add(state)

    def until(self, length):
        return self.until_true(lambda: len(self.all) >= length)

    def until_true(self, wanted):
        with self.changed:
            assert self.changed.wait_for(wanted, PATIENCE), f"waited in vain with {len(self.all)}: {self.all[-5:]}"
            return list(self.all)


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.key = control("key tests").split(" ")[0]

    def client(self, **options):
        """A client that reconnects quickly."""
        options = {"key": self.key, "client_id": "python", "retry_max": 0.5, "on_gap": lambda gap: None, **options}
        weir = Weir(os.environ["WEIR_URL"], **options)
        self.addCleanup(weir.close)
        return weir

    def refused(self, outcome, call, *arguments, **frame):
        with self.assertRaises(WeirError) as caught:
            call(*arguments, **frame)
        self.assertEqual(caught.exception.outcome, outcome)
        return str(caught.exception)

    def test_patterns_meet_as_mqtt_says(self):
        for pair in ["a a", "a +", "a #", "a/b a/#", "a a/#", "+/b a/+", "a/+/c a/b/#", "a//b a/+/b", "# +/b"]:
            self.assertTrue(meet(*(pattern.split("/") for pattern in pair.split(" "))), pair)
        for pair in ["a b", "a a/b", "a/b a", "+/b a/c", "a/+ a", "$SYS/a #", "$SYS/a +/a", "a/b/c a/+"]:
            self.assertFalse(meet(*(pattern.split("/") for pattern in pair.split(" "))), pair)

    def test_what_is_published_comes_as_it_was_and_what_is_refused_says_why(self):
        weir, seen = self.client(), Seen()
        weir.subscribe("plain/+", seen.add, timeout=PATIENCE)
        sizes = [0, 1, 125, 126, 65_535, 65_536, 300_000]
        for size in sizes:
            answer = weir.publish("plain/a", payload=os.urandom(size), headers={"size": str(size)}, level="logged")
            self.assertEqual(answer["outcome"], "accepted")
        weir.publish("plain/b", data={"é": "\U0001f40a"})
        *raw, last = seen.until(len(sizes) + 1)
        self.assertEqual([len(payload(message)) for message in raw], sizes)
        self.assertEqual(last["data"], {"é": "\U0001f40a"})
        self.refused("invalid", weir.publish, "plain/+", data=1)
        self.refused("invalid", weir.subscribe, "a/#/b", seen.add)
        # Nothing of this is sent, so that nothing of it is in the way.
        for wrong in (float("nan"), b"x", {"at": self}, "\ud800"):
            self.refused("invalid", weir.publish, "plain/a", data=wrong)
        self.refused("invalid", weir.publish, "plain/a", data=1, id="mine")
        self.refused("invalid", weir.subscribe, "plain/a", seen.add, action="publish")
        self.assertEqual(weir.publish("plain/b", text="ж" * 300_000)["outcome"], "accepted")

    def test_what_is_too_large_is_blamed_and_nothing_else(self):
        weir = self.client()
        weir.publish("large/a", data=1)
        calls = [weir.publish_nowait("large/a", text="x" * size) for size in (3_000_000, 10, 20)]
        with self.assertRaises(WeirError) as caught:
            calls[0].result(PATIENCE)
        self.assertEqual(caught.exception.outcome, "too-large")
        self.assertEqual([call.result(PATIENCE)["outcome"] for call in calls[1:]], ["accepted"] * 2)

    def test_a_handler_may_subscribe_however_much_waits(self):
        weir, seen, go = self.client(), Seen(), threading.Event()

        def handler(message):
            go.wait(PATIENCE)
            if message["data"] == 0:
                seen.add(weir.subscribe("other", seen.data, timeout=PATIENCE))

        weir.subscribe("many", handler)
        with unittest.mock.patch("weir.BACKLOG", 10):
            for n in range(30):
                weir.publish("many", data=n)
            go.set()
            seen.until(1)
            weir.publish("other", data="here")
            self.assertEqual(seen.until(2)[1], "here")

    def test_a_subscriber_misses_nothing_and_sees_nothing_twice_through_kills_and_stops(self):
        reader, writer, seen = self.client(), self.client(), Seen()
        reader.subscribe("storm/#", seen.data)
        going, calls = threading.Event(), collections.deque()
        going.set()
        published = []

        def write():
            while going.is_set():
                calls.append(writer.publish_nowait(f"storm/{len(published) % 3}", data=len(published), level="logged"))
                published.append(len(published))
                if len(calls) >= 32:
                    calls.popleft().result(PATIENCE)

        writing = threading.Thread(target=write)
        writing.start()
        for end in ["kill", "stop", "kill", "kill"]:
            seen.until(len(seen.all) + 100)
            control(end)
            control("up")
        seen.until(len(seen.all) + 100)
        going.clear()
        writing.join(PATIENCE)
        self.assertTrue(all(call.result(PATIENCE)["ok"] for call in calls))
        self.assertEqual(seen.until(len(published)), published)

    def test_a_router_that_was_put_back_to_an_older_state_says_so_and_what_it_publishes_then_is_not_taken_for_old(self):
        gaps, seen, writer = Seen(), Seen(), self.client()
        self.client().subscribe("backup", seen.data, on_gap=gaps.add)

        def publish(numbers):
            for call in [writer.publish_nowait("backup", data=n, level="logged") for n in numbers]:
                self.assertTrue(call.result(PATIENCE)["ok"])

        publish(range(10))
        seen.until(10)
        control("stop")
        control("save")
        control("up")
        publish(range(10, 500))
        seen.until(500)
        control("stop")
        control("restore")
        control("up")
        gap = gaps.until(1)[0]
        self.assertEqual([gap["topic"], list(gap["oldest"])], ["backup", ["default"]])
        last = 500
        publish([last])
        while len(seen.all) == 500:  # Until it has caught up, nobody can tell what is new.
            last += 1
            publish([last])
        publish(range(last + 1, last + 11))
        numbers = seen.until_true(lambda: seen.all[-1] == last + 10)
        self.assertEqual(numbers, [*range(500), *range(numbers[500], last + 11)])
        self.assertLess(numbers[500], 950, "at an offset that an older message had")

    def test_a_subscription_waits_for_the_next_router_when_one_is_stopping(self):
        reader = Subscription(None, {"topic": "a"}, None, None, None)
        reader.state = "asked"
        Weir._unwanted(None, reader, WeirError("shutting-down"))
        self.assertEqual((reader.state, reader.ready.done()), ("waiting", False))

    def test_a_subscription_whose_log_is_gone_begins_anew_and_says_so(self):
        asked, gaps = [], []
        router = types.SimpleNamespace(_subscribe_all=lambda: asked.append(reader.request()),
                                       _tell=lambda hearer, gap: hearer(gap))
        reader = Subscription(router, {"topic": "a"}, None, gaps.append, None)
        reader.begin({"places": {"b": {"epoch": 1, "offset": 6}}}, {"topic": "a"})
        reader.catch_up()
        Weir._unwanted(router, reader, WeirError("invalid", "no log"))
        self.assertEqual((asked, gaps), ([{"topic": "a"}], [{"topic": "a", "reason": "no log"}]))

    def test_messages_that_overtake_the_answer_wait_for_it(self):
        router, seen = types.SimpleNamespace(_handle=lambda job, message: job()), []
        reader = Subscription(router, {"topic": "a"}, lambda message: seen.append(message["offset"]), None, None)
        self.assertEqual(reader.request(), {"topic": "a", "retained": True})
        reader.hold({"topic": "a", "log": "b", "epoch": 1, "offset": 7, "from": "c"})
        self.assertEqual(seen, [])
        reader.begin({"places": {"b": {"epoch": 1, "offset": 6}}}, {"topic": "a"})
        reader.take({"topic": "a", "log": "b", "epoch": 1, "offset": 8, "from": "c"})
        self.assertEqual(seen, [7, 8])
        # Until it knows that it has all retained messages it asks for them.
        resumed = {"topic": "a", "since": {"b": {"epoch": 1, "offset": 8}}}
        self.assertEqual(reader.request(), {**resumed, "retained": True})
        reader.catch_up()
        self.assertEqual(reader.request(), resumed)

    def test_overlapping_subscriptions_each_keep_their_order_over_a_restart(self):
        reader, writer, everything, some = self.client(), self.client(), Seen(), Seen()
        reader.subscribe("over/#", everything.data)
        reader.subscribe("over/1", some.data)
        calls = [writer.publish_nowait(f"over/{n % 2}", data=n) for n in range(100)]
        everything.until(100)
        control("stop")
        calls += [writer.publish_nowait(f"over/{n % 2}", data=n) for n in range(100, 200)]
        control("up")
        self.assertTrue(all(call.result(PATIENCE)["ok"] for call in calls))
        self.assertEqual(everything.until(200), list(range(200)))
        self.assertEqual(some.until(100), list(range(1, 200, 2)))

    def test_calls_wait_while_there_is_no_router_so_many_and_no_more(self):
        weir = self.client(max_pending=10)
        weir.publish("queue", data="first")
        control("kill")
        waiting = [weir.publish_nowait("queue", data=n, level="logged") for n in range(10)]
        self.assertIn("10 calls", self.refused("overloaded", weir.publish, "queue", data=10))
        control("up")
        offsets = [call.result(PATIENCE)["messages"][0]["offset"] for call in waiting]
        self.assertEqual(offsets, list(range(offsets[0], offsets[0] + 10)), "in the order of the calls")

    def test_without_an_answer_a_message_is_sent_again_or_reported_as_unknown(self):
        weir, seen = self.client(), Seen()
        weir.subscribe("again", seen.data)
        control("freeze")
        again = weir.publish_nowait("again", data=1, level="logged")
        once = weir.publish_nowait("again", data=2, retry=False)
        sent = weir.publish_nowait("again", data=3)
        control("kill")
        self.refused("unknown", once.result, PATIENCE)
        control("up")
        self.assertEqual([call.result(PATIENCE)["outcome"] for call in (again, sent)], ["accepted"] * 2)
        self.assertEqual(seen.until(2), [1, 3])

    def test_a_connection_that_falls_silent_is_given_up(self):
        states = Seen()
        weir = self.client(ping_every=0.1, timeout=0.4, on_state=states.state)
        weir.publish("silence", data=1)
        control("freeze")
        states.until_true(lambda: "waiting" in states.all)
        control("thaw")
        self.assertTrue(weir.publish("silence", data=2)["ok"])

    def test_a_refused_key_is_not_tried_again(self):
        states = Seen()
        stranger = self.client(key="nobody", on_state=states.state)
        self.refused("unauthenticated", stranger.publish, "a", data=1)
        key, key_id = control("key mortal").split(" ")
        mortal = self.client(key=key, on_state=states.state)
        mortal.publish("a", data=1)
        control(f"revoke {key_id}")
        states.until_true(lambda: states.all.count("refused") == 2)
        self.assertNotIn("waiting", states.all)
        self.refused("unauthenticated", mortal.publish, "a", data=1)

    def test_a_consumer_acks_what_it_has_handled_and_gets_the_rest_again(self):
        weir, seen = self.client(), Seen()
        weir.consume("jobs/#", seen.data, consumer="python")
        for n in range(50):
            # Answered, so that none is sent again after the kill.
            weir.publish("jobs/a", data=n, level="logged")
        seen.until(50)
        control("kill")
        control("up")
        for n in range(50, 100):
            weir.publish("jobs/a", data=n, level="logged")
        self.assertEqual(seen.until(100), list(range(100)), "once, though acks may have been lost")
        failures, twice = Seen(), Seen()
        clumsy = self.client(on_error=lambda error, _: failures.add(error))

        def hard(message):
            twice.add(message["delivery"])
            if message["delivery"] == 1:
                raise ValueError("too early")

        clumsy.consume("hard", hard, group="python", ack_wait_ms=100)
        weir.publish("hard", data=1)
        self.assertEqual(twice.until(2), [1, 2])
        self.assertEqual(len(failures.all), 1)

    def test_a_question_finds_its_answer_and_who_is_there_is_known(self):
        asker, server = self.client(), self.client(client_id="server")
        server.subscribe("add", lambda message: server.reply(message, data=sum(message["data"])))
        self.assertEqual(asker.request("add", data=[2, 3])["data"], 5)
        self.refused("unanswered", asker.request, "nobody", data=1, timeout_ms=50)
        self.refused("invalid", server.reply, {"topic": "add"}, data=1)
        self.assertEqual(asker.presence("add")["count"], 1)

    def test_history_comes_page_by_page_and_storage_plugins_answer(self):
        weir = self.client()
        for n in range(25):
            weir.publish("latest/a", data=n, level="stored")
        self.assertEqual([message["data"] for message in weir.history("latest/#", limit=10)], list(range(25)))
        self.assertEqual(len(weir.query("latest", "latest/a")["items"]), 1)

    def test_a_slow_handler_pauses_its_subscription_and_misses_nothing(self):
        import weir as module

        backlog, module.BACKLOG = module.BACKLOG, 100
        self.addCleanup(setattr, module, "BACKLOG", backlog)
        reader, writer, seen, free = self.client(), self.client(), Seen(), threading.Event()
        reader.subscribe("slow", lambda message: (free.wait(PATIENCE), seen.data(message)))
        for call in [writer.publish_nowait("slow", data=n, level="logged") for n in range(1_000)]:
            call.result(PATIENCE)
        free.set()
        self.assertEqual(seen.until(1_000), list(range(1_000)))


if __name__ == "__main__":
    unittest.main()
