"""weir for devices: publish, subscribe, consume, and miss nothing when the connection breaks.

    with Weir("wss://router.example", key="…") as weir:
        weir.subscribe("rooms/#", lambda message: print(message["topic"], message.get("data")))
        weir.publish("rooms/kitchen", data={"celsius": 21.5}, level="logged")

One file, Python 3.9 or newer, nothing but the standard library. Keyword arguments are the keys of the native
protocol's frames (docs/protocol.md). Methods wait for the router's answer, at most `timeout` seconds if that is given.
Handlers run one at a time on a thread of their own and may call every method; another thread owns the socket.
"""

import base64
import collections
import contextlib
import hashlib
import json
import os
import random
import select
import socket
import ssl
import sys
import threading
import time
import traceback
import types
import urllib.parse
from concurrent.futures import Future

DEFAULTS = {
    "key": None,  # API key, or a function that gives one for every connection.
    "client_id": None,
    "origin": None,
    "on_state": None,  # (state, detail): connecting, open, waiting, refused, closed.
    "on_error": None,  # (error, message): what a handler raised, or the router complains of; None: standard error.
    "on_gap": None,  # (gap): messages are missing, for those without an `on_gap` of their own.
    "max_pending": 1_000,  # Calls that wait for a connection or an answer; more are refused.
    "ping_every": 15.0,  # Seconds of silence after which the connection is tested,
    "timeout": 10.0,  # and how long that, and a handshake, may take.
    "retry_min": 0.25,  # The wait before a reconnect is random, below a bound that doubles
    "retry_max": 30.0,  # from the first of these to the second.
    "ssl_context": None,
}
BLAMED = {1002, 1003, 1007, 1009, 1011}  # Close codes that blame what was sent: it is not sent again.
TOO_LARGE = 1009  # This one blames one frame.
REMEMBERED = 1_000  # Message ids that a subscription remembers, to know what a publisher had to send twice.
BACKLOG = 10_000  # Messages that wait for handlers; above it subscriptions pause, and go on where they were.
BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class WeirError(Exception):
    """What was refused, with the router's `outcome`. `unknown`: the connection broke before the answer came."""

    def __init__(self, outcome="invalid", reason="no reason was given", **answer):
        super().__init__(f"{outcome}: {reason}")
        self.outcome, self.reason, self.answer = outcome, reason, answer


class _Lost(Exception):
    def __init__(self, code, reason):
        super().__init__(reason or f"closed with {code}")
        self.code = code


class _Refused(Exception):
    pass


def meet(one, other):
    """Whether some topic may match both patterns, by MQTT's rules; a topic is a pattern too. Lists of levels."""
    if any(a[0] in ("+", "#") and b[0].startswith("$") for a, b in ((one, other), (other, one))):
        return False
    for a, b in zip(one, other):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    rest = max(one, other, key=len)[min(len(one), len(other)):]
    return rest in ([], ["#"])


def payload(message):
    """The bytes of a message, whichever way they came."""
    if "base64" in message:
        return base64.b64decode(message["base64"])
    return (message["text"] if "text" in message else json.dumps(message["data"])).encode()


def _encode(frame):
    """Refused here, in the caller's thread, is what no JSON can carry."""
    try:
        return json.dumps(frame, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise WeirError("invalid", f"JSON cannot carry it: {error}") from error


def _check(frame):
    if own := frame.keys() & {"action", "id"}:
        raise WeirError("invalid", f"{sorted(own)} are the client's own")


class _Call:
    def __init__(self, frame, kind, done, fail):
        self.id, self.kind, self.sent, self.done, self.fail = frame["id"], kind, False, done, fail
        self.text = _encode(frame)


class _Socket:
    """The client's side of RFC 6455. Connecting blocks; after that nothing does."""

    def __init__(self, url, headers, timeout, context):
        self.read, self.unsent, self.parts = bytearray(), bytearray(), []
        secure = url.scheme in ("wss", "https")
        self.raw = socket.create_connection((url.hostname, url.port or (443 if secure else 80)), timeout)
        try:
            self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                context = context or ssl.create_default_context()
                self.raw = context.wrap_socket(self.raw, server_hostname=url.hostname)
            self._shake(url, headers, time.monotonic() + timeout)
            self.raw.setblocking(False)
        except BaseException:
            self.raw.close()
            raise

    def _shake(self, url, headers, deadline):
        nonce = base64.b64encode(os.urandom(16))
        headers = {"Host": url.netloc, "Upgrade": "websocket", "Connection": "Upgrade",
                   "Sec-WebSocket-Key": nonce.decode(), "Sec-WebSocket-Version": "13", **headers}
        lines = [f"GET {url.path}?{url.query} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self.raw.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.read:
            more = self.raw.recv(4096)
            if not more or len(self.read) > 65_536 or time.monotonic() > deadline:
                raise _Lost(1006, "the handshake was not answered")
            self.read += more
        head, _, self.read = self.read.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        if status.split(" ")[1:2] in (["401"], ["403"]):
            raise _Refused(f"the router answers {status!r}: it does not accept this key")
        proof = base64.b64encode(hashlib.sha1(nonce + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
        fields = [field.partition(":") for field in fields]
        if not any(name.lower() == "sec-websocket-accept" and value.strip() == proof for name, _, value in fields):
            raise _Lost(1006, f"the router answers {status!r}")

    def send(self, data, opcode=1):
        size, mask = len(data), os.urandom(4)
        short = size if size < 126 else 126 if size < 65_536 else 127
        length = b"" if size < 126 else size.to_bytes(2 if size < 65_536 else 8, "big")
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        masked = (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")
        self.unsent += bytes([0x80 | opcode, 0x80 | short]) + length + mask + masked

    def flush(self):
        """Sends what the network takes now."""
        with contextlib.suppress(*BUSY):
            while self.unsent:
                del self.unsent[:self.raw.send(self.unsent)]

    def receive(self):
        """The texts that have arrived; `_Lost` at the end."""
        more = b"?"
        with contextlib.suppress(*BUSY):
            while more and len(self.read) < 1 << 20:
                more = self.raw.recv(65_536)
                self.read += more
        while (frame := self._frame()) is not None:
            final, opcode, data = frame
            if opcode == 8:
                self.send(data[:2], 8)
                self.flush()
                raise _Lost(int.from_bytes(data[:2], "big") or 1005, data[2:].decode(errors="replace"))
            if opcode == 9:
                self.send(data, 10)
            elif opcode < 8:
                self.parts.append(data)
                if final:
                    text, self.parts = b"".join(self.parts), []
                    yield text
        if not more:
            raise _Lost(1006, "the connection was cut")

    def _frame(self):
        short = self.read[1] & 127 if len(self.read) > 1 else 127
        start = {126: 4, 127: 10}.get(short, 2)
        if len(self.read) < start:
            return None
        end = start + (int.from_bytes(self.read[2:start], "big") if start > 2 else short)
        if len(self.read) < end:
            return None
        frame = self.read[0] >> 7, self.read[0] & 15, bytes(self.read[start:end])
        del self.read[:end]
        return frame


class _Reader:
    """What stands over all connections: it is `waiting` for one, `asked` for on it, or `live`."""

    durable = False

    def __init__(self, weir, frame, handler, on_gap, on_end, on_presence=None):
        self.weir, self.frame, self.handler, self.state = weir, frame, handler, "waiting"
        self.on_gap, self.on_end, self.on_presence = on_gap, on_end, on_presence
        self.pattern, self.ready = frame["topic"].split("/"), Future()
        self.who = {key: frame[key] for key in ("consumer", "group") if key in frame}

    def request(self):
        """The frame that begins or resumes it."""
        return self.frame

    def close(self):
        """Stops reading; of a consumer the router keeps the place."""
        self.weir._remove(self, self.who if self.durable else {"topic": self.frame["topic"]})


class Subscription(_Reader):
    """A standing subscription: each new connection goes on where the last one broke."""

    def __init__(self, *given):
        super().__init__(*given)
        # No places until the router has answered: so long it begins as `since` says. The goal is what they become
        # when all that was missed has come; none behind that.
        self.places, self.goal, self.early, self.ids = None, None, [], {}
        # Retained messages are wanted, and have not all come.
        self.retained = self.frame.get("retained", "since" not in self.frame)

    def request(self):
        self.early = []
        frame = dict(self.frame)
        if self.places is not None:
            frame.pop("retained", None)
            frame["since"] = self.places
        return {**frame, "retained": True} if self.retained else frame

    def hold(self, message):
        """The first messages may overtake the answer, but for those that were missed."""
        if self.places is None and self.frame.get("since", "now") == "now":
            self.early.append(message)

    def begin(self, answer, frame):
        """The places of the answer hold at once, or when all that was missed has come."""
        self.places, self.goal = self.places or {}, answer.get("places", {})
        if frame.get("since", "now") == "now":
            self._advance(self.goal)
            early, self.early = self.early, []
            for message in early:
                self.take(message)
            self.goal = None

    def catch_up(self):
        """All that was missed has come."""
        self._advance(self.goal or {})
        self.goal, self.retained = None, False

    def take(self, message):
        """Gives it to the handler, unless it had it.

        What was missed may come with more before it, when the router has lost messages; what comes live is new, even
        in a log that was put back to an older state.
        """
        if "log" in message and not message.get("retained"):
            if not self._advance({message["log"]: {"epoch": message["epoch"], "offset": message["offset"]}}):
                return
        if message.get("retained") or not self._is_double(message):
            self.weir._handle(lambda: self.handler(message), message)

    def _advance(self, places):
        """Whether one of them is behind what was seen so far."""
        def is_new(log, place):
            return self.goal is None or _order(place) > _order(self.places.get(log))

        news = {log: place for log, place in places.items() if is_new(log, place)}
        self.places.update(news)
        return bool(news)

    def _is_double(self, message):
        """A publisher who got no answer sends again, with the same id: the router may have both."""
        known = (message["from"], message.get("message_id"))
        if known[1] is None or known in self.ids:
            return known[1] is not None
        self.ids[known] = True
        if len(self.ids) > REMEMBERED:
            del self.ids[next(iter(self.ids))]
        return False


def _order(place):
    return (place["epoch"], place["offset"]) if place else (-1, -1)


class Consumer(_Reader):
    """A durable reader: the router remembers what it has acked."""

    durable = True

    def __init__(self, *given):
        super().__init__(*given)
        # Places: waiting or being handled; handled, and the router has not said yet that it knows; to be acked.
        self.taken, self.handled, self.acks = set(), set(), []

    def begin(self, answer, frame):
        # Acks may have been lost with the connection before.
        self.acks = list(self.handled)

    def hold(self, message):
        self.take(message)

    def take(self, message):
        place = message["log"], message["epoch"], message["offset"]
        if place in self.handled:
            self.acks.append(place)
        elif place not in self.taken:
            self.taken.add(place)
            self.weir._handle(lambda: self._run(message, place), message)

    def _run(self, message, place):
        try:
            self.handler(message)
            self.weir._post(lambda: (self.handled.add(place), self.acks.append(place)))
        finally:
            # Without an ack the router delivers it again after `ack_wait_ms`.
            self.weir._post(lambda: self.taken.discard(place))

    def flush(self):
        acks, self.acks, frames = self.acks, [], collections.defaultdict(list)
        for log, epoch, offset in acks:
            frames[log, epoch].append(offset)
        for (log, epoch), offsets in frames.items():
            self._ack({**self.who, "log": log, "epoch": epoch, "offsets": offsets})

    def _ack(self, frame):
        def done(answer):
            if answer["ok"]:
                self.handled.difference_update((frame["log"], frame["epoch"], offset) for offset in frame["offsets"])
            else:
                self.weir._report(WeirError(**answer))

        self.weir._send("ack", frame, "now", done)

    def delete(self):
        """Stops reading, and the router forgets it."""
        self.weir._remove(self, {**self.who, "delete": True})


class Weir:
    """A connection that is made again whenever it breaks. The options are those of `DEFAULTS`."""

    def __init__(self, url, **options):
        if unknown := options.keys() - DEFAULTS.keys():
            raise TypeError(f"unknown options {sorted(unknown)}: accepted are {sorted(DEFAULTS)}")
        self._given, self._options = (url, options), types.SimpleNamespace(**{**DEFAULTS, **options})
        url = urllib.parse.urlsplit(url)
        said = {name: options[name] for name in ("client_id", "origin") if options.get(name)}
        query = "&".join(filter(None, (url.query, urllib.parse.urlencode(said))))
        self._url = url._replace(path=url.path.rstrip("/") or "/v1/ws", query=query)
        # Of the socket's thread.
        self.state, self._socket, self._heard, self._pinged, self._attempt = "connecting", None, 0.0, 0.0, 0
        self._pending, self._readers, self._name = {}, [], os.urandom(12).hex()
        # Of all threads, under the lock: calls to the socket's, jobs for the handlers', calls without an answer.
        self._lock, self._calls, self._jobs = threading.Condition(), collections.deque(), collections.deque()
        self._waiting, self._count, self._ended, self._patterns = 0, 0, False, []
        # For patterns that overlap: the router sends a message once to each connection.
        self._other = None
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._run, self._work)]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def publish(self, topic, timeout=None, **message):
        """Returns the answer once the router has it as safely as `level` asks for; raises what it said instead.

        The payload is `data`, `text` or `payload` (bytes). When the connection breaks it is sent again with the same
        `message_id` (at least once), unless `retry=False`: then it raises the outcome `unknown`.
        """
        return self.publish_nowait(topic, **message).result(timeout)

    def publish_nowait(self, topic, retry=True, **message):
        """The same without waiting: a Future of the answer."""
        own = {"message_id": f"{self._name}-{self._next()}"} if retry else {}
        return self._ask("publish", {"topic": topic, **own, **message}, "again" if retry else "once")

    def subscribe(self, topic, handler, timeout=None, on_gap=None, on_end=None, on_presence=None, **frame):
        """Calls the handler with every message, in each log's order, over all reconnects. Returns once it stands.

        `since`, `retained`, `presence`: see the protocol.
        """
        _check(frame)
        _encode(frame)
        reader = Subscription(self, {"topic": topic, **frame}, handler, on_gap, on_end, on_presence)
        with self._lock:
            overlaps = any(meet(reader.pattern, pattern) for pattern in self._patterns)
            if not overlaps:
                self._patterns.append(reader.pattern)
            elif self._other is None:
                self._other = Weir(self._given[0], **{**self._given[1], "on_state": None})
        if overlaps:
            return self._other.subscribe(topic, handler, timeout, on_gap, on_end, on_presence, **frame)
        return self._add(reader, timeout)

    def consume(self, topic, handler, timeout=None, on_gap=None, on_end=None, **frame):
        """A durable reader (`consumer=` or `group=`): acked when the handler returns, comes again when it raises."""
        _check(frame)
        _encode(frame)
        return self._add(Consumer(self, {"topic": topic, **frame}, handler, on_gap, on_end), timeout)

    def request(self, topic, timeout=None, **message):
        """Publishes and returns somebody's reply, a message."""
        return self._ask("request", {"topic": topic, **message}, "once").result(timeout)["reply"]

    def reply(self, message, timeout=None, **answer):
        """Answers a message that came with `reply_to`."""
        if "reply_to" not in message:
            raise WeirError(reason="nobody waits for a reply: the message has no reply_to")
        return self.publish(message["reply_to"], timeout, retry=False, **answer)

    def presence(self, topic, timeout=None):
        """Who is subscribed to exactly this topic."""
        return self._ask("presence", {"topic": topic}, "again").result(timeout)

    def query(self, plugin, topic, timeout=None, **frame):
        """A page of a storage plugin's answer."""
        return self._ask("query", {"plugin": plugin, "topic": topic, **frame}, "again").result(timeout)

    def history(self, topic, timeout=None, on_gap=None, **frame):
        """All messages of the logs, page by page, as an iterator."""
        page = {"more": True}
        while page["more"]:
            page = self._ask("history", {"topic": topic, **frame}, "again").result(timeout)
            if page.get("recovered") is False:
                self._tell(on_gap or self._options.on_gap, {"topic": topic, "oldest": page.get("oldest")})
            yield from page["messages"]
            frame["since"] = page["next"]

    def reconnect(self):
        """Connects at once: after a refusal, or instead of waiting."""
        if self._other is not None:
            self._other.reconnect()
        self._post(self._hurry)

    def close(self):
        """Ends the connection for good; what was sent is still sent."""
        if self._other is not None:
            self._other.close()
        self._post(lambda: (self._flush_acks(), self._stop("closed", "the client was closed")))
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(self._options.timeout)

    # What other threads ask of the socket's.

    def _post(self, call):
        with self._lock:
            if not self._ended:
                self._calls.append(call)
                with contextlib.suppress(OSError):
                    self._wake.send(b"!")
                return
        call()

    def _next(self):
        with self._lock:
            self._count += 1
            return self._count

    def _ask(self, action, frame, kind):
        if "payload" in frame:
            frame["base64"] = base64.b64encode(frame.pop("payload")).decode()
        _check(frame)
        answer = Future()

        def done(frame):
            if frame["ok"]:
                answer.set_result(frame)
            else:
                answer.set_exception(WeirError(**frame))

        call = self._call(action, frame, kind, done, answer.set_exception)
        with self._lock:
            if self._waiting >= self._options.max_pending:
                reason = f"{self._options.max_pending} calls wait for an answer: max_pending allows no more"
                raise WeirError("overloaded", reason)
            self._waiting += 1
        answer.set_running_or_notify_cancel()  # From here on it cannot be cancelled.
        answer.add_done_callback(self._answered)
        self._post(lambda: self._start(call))
        return answer

    def _answered(self, _):
        with self._lock:
            self._waiting -= 1

    def _add(self, reader, timeout):
        self._post(lambda: self._join(reader))
        return reader.ready.result(timeout)

    def _remove(self, reader, frame):
        self._post(lambda: self._leave(reader, frame))

    # The handlers' thread.

    def _handle(self, job, message=None):
        with self._lock:
            self._jobs.append((job, message))
            self._lock.notify()

    def _work(self):
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._jobs or self.state == "closed")
                if not self._jobs:
                    return
                job, message = self._jobs.popleft()
                drained = len(self._jobs) == BACKLOG // 2
            try:
                job()
            except Exception as error:
                self._report(error, message)
            if drained:
                self._post(self._subscribe_all)

    def _tell(self, hearer, *what):
        """Calls what the user gave, on the handlers' thread."""
        if hearer is not None:
            self._handle(lambda: hearer(*what))

    def _report(self, error, message=None):
        if self._options.on_error is not None:
            self._options.on_error(error, message)
        else:
            traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)

    # The socket's thread.

    def _run(self):
        while self.state != "closed":
            try:
                if self.state == "connecting":
                    self._connect()
                self._turn()
            except _Refused as refusal:
                self._stop("refused", str(refusal))
            except _Lost as loss:
                self._lost(loss.code, str(loss))
            except Exception as error:
                if not isinstance(error, OSError):
                    self._report(error)
                self._lost(1006, str(error))
        with self._lock:
            self._ended = True
        while self._calls:
            self._calls.popleft()()
        self._woken.close()
        self._wake.close()

    def _connect(self):
        key = self._options.key() if callable(self._options.key) else self._options.key
        headers = {"X-API-Key": key} if key else {}
        self._socket = _Socket(self._url, headers, self._options.timeout, self._options.ssl_context)
        self._heard, self._pinged = time.monotonic(), 0.0
        self._enter("open")
        self._subscribe_all()
        for call in [call for call in self._pending.values() if not call.sent]:
            self._write(call)

    def _turn(self):
        """Sends, receives, and does what other threads have asked for, once."""
        link, wait, ready = self._socket, None, False
        if link is not None:
            link.flush()
            ready = getattr(link.raw, "pending", int)() > 0
            wait = 0 if ready else min(self._options.ping_every, self._options.timeout) / 2
        elif self.state == "waiting":
            wait = max(0.0, self._retry_at - time.monotonic())
        raw = [link.raw] if link else []
        readable, _, _ = select.select([self._woken, *raw], raw if link and link.unsent else [], [], wait)
        if self._woken in readable:
            self._woken.recv(4096)
        while self._calls:
            self._calls.popleft()()
        if self._socket is None:
            if self.state == "waiting" and time.monotonic() >= self._retry_at:
                self._enter("connecting")
            return
        if ready or link.raw in readable:
            for text in link.receive():
                self._receive(json.loads(text))
        self._flush_acks()
        self._beat(time.monotonic())

    def _flush_acks(self):
        for consumer in [reader for reader in self._readers if reader.durable]:
            consumer.flush()

    def _beat(self, now):
        """A half-open connection looks as a quiet one does, until it is asked."""
        if self._pinged and now - self._pinged > self._options.timeout:
            raise _Lost(1006, "the router fell silent")
        if not self._pinged and now - self._heard > self._options.ping_every:
            self._pinged = now
            self._socket.send(b'{"action":"ping"}')

    def _drop(self):
        link, self._socket = self._socket, None
        if link is not None:
            with contextlib.suppress(OSError):
                link.send((1000).to_bytes(2, "big"), 8)
                link.flush()
            link.raw.close()
        for reader in self._readers:
            reader.state = "waiting"

    def _lost(self, code, reason):
        opened, blamed = self.state == "open", code in BLAMED
        sent = [call for call in self._pending.values() if call.sent]
        self._drop()
        if code == TOO_LARGE and sent:
            # Of the calls on their way the longest is too long, whichever else is.
            longest = max(sent, key=lambda call: len(call.text))
            del self._pending[longest.id]
            longest.fail(WeirError("too-large", reason))
            blamed = False
        # Whoever was told off, or never heard a word, waits longer each time.
        if opened and code != 1008 and not blamed:
            self._attempt = 0
        for call in list(self._pending.values()):
            if call.kind == "now" or (call.sent and (call.kind == "once" or blamed)):
                del self._pending[call.id]
                call.fail(WeirError("unknown", f"the connection broke before the answer: {code} {reason}"))
            call.sent = False
        if code == 1008 and reason in ("key revoked", "key expired") and not callable(self._options.key):
            return self._stop("refused", reason)
        bound = min(self._options.retry_max, self._options.retry_min * 2 ** min(self._attempt, 30))
        self._attempt, self._retry_at = self._attempt + 1, time.monotonic() + random.random() * bound
        self._enter("waiting", reason)

    def _hurry(self):
        if self.state in ("waiting", "refused"):
            self._enter("connecting")

    def _stop(self, state, reason):
        """Ends all that waits. The readers stay, for a `reconnect` with a better key."""
        self._drop()
        self._enter(state, reason)
        error = WeirError("unauthenticated" if state == "refused" else "unknown", reason)
        calls, self._pending = self._pending, {}
        for call in calls.values():
            call.fail(error)
        for reader in [reader for reader in self._readers if not reader.ready.done()]:
            self._end(reader, error)

    def _enter(self, state, detail=None):
        self.state = state
        self._tell(self._options.on_state, state, detail)
        with self._lock:
            self._lock.notify()

    def _call(self, action, frame, kind, done=lambda answer: None, fail=lambda error: None):
        return _Call({"action": action, "id": str(self._next()), **frame}, kind, done, fail)

    def _send(self, *given):
        self._start(self._call(*given))

    def _start(self, call):
        if self.state == "refused":
            return call.fail(WeirError("unauthenticated", "the router has refused this client"))
        if self.state == "closed" or (call.kind == "now" and self.state != "open"):
            return call.fail(WeirError("unknown", "not connected"))
        self._pending[call.id] = call
        if self.state == "open":
            self._write(call)

    def _write(self, call):
        call.sent = True
        self._socket.send(call.text)

    def _receive(self, frame):
        self._heard, self._pinged = time.monotonic(), 0.0
        if "event" in frame:
            return self._event(frame)
        call = self._pending.get(frame.get("id"))
        if call is None:
            return
        if frame.get("outcome") == "shutting-down" and call.kind == "again":
            # Nothing was done: it keeps its place in the order, and waits for the next connection.
            call.sent = False
            return
        del self._pending[call.id]
        call.done(frame)

    def _event(self, frame):
        event, who = frame["event"], {key: frame[key] for key in ("consumer", "group") if key in frame}
        if event == "error":
            self._report(WeirError(**frame))
        for reader in [reader for reader in self._readers if self._concerns(frame, who, reader)]:
            if event == "message" and reader.state == "live":
                self._deliver(frame, reader)
            elif event == "message" and reader.state == "asked":
                reader.hold(frame)
            elif event == "caught-up":
                reader.catch_up()
            elif event == "unsubscribed":
                self._end(reader, WeirError(**frame))
            elif event == "gap":
                self._tell(reader.on_gap or self._options.on_gap, frame)
            elif event in ("join", "leave"):
                self._tell(reader.on_presence, frame)

    def _concerns(self, frame, who, reader):
        if who or reader.durable:
            return reader.who == who and reader.durable
        if frame["event"] in ("caught-up", "unsubscribed"):
            return reader.frame["topic"] == frame["topic"]
        return "topic" not in frame or meet(reader.pattern, frame["topic"].split("/"))

    def _deliver(self, message, reader):
        if reader.durable or len(self._jobs) < BACKLOG:
            return reader.take(message)
        # This message and what follows come again, when the handlers have caught up.
        reader.state = "waiting"
        self._send("unsubscribe", {"topic": reader.frame["topic"]}, "now")

    def _join(self, reader):
        if self.state in ("closed", "refused"):
            return self._end(reader, WeirError("unknown", f"the client is {self.state}"))
        self._readers.append(reader)
        self._subscribe_all()

    def _leave(self, reader, frame):
        if reader in self._readers:
            self._forget(reader)
            kind = "again" if "delete" in frame else "now"
            self._send("unsubscribe", frame, kind)

    def _subscribe_all(self):
        """Those who wait; while the handlers have too much to do, nobody."""
        full = len(self._jobs) >= BACKLOG
        for reader in self._readers if self.state == "open" else []:
            # Who subscribes may be the very handler that the rest wait for.
            if reader.state == "waiting" and not (full and reader.ready.done()):
                frame, reader.state = reader.request(), "asked"
                self._send("subscribe", frame, "now", self._begun(reader, frame))

    def _begun(self, reader, frame):
        def begun(answer):
            if not answer["ok"]:
                return self._unwanted(reader, WeirError(**answer))
            if answer.get("recovered") is False:
                gap = {"topic": answer["topic"], "oldest": answer.get("oldest")}
                self._tell(reader.on_gap or self._options.on_gap, gap)
            reader.state = "live"
            reader.begin(answer, frame)
            if not reader.ready.done():
                reader.ready.set_result(reader)
        return begun

    def _unwanted(self, reader, error):
        if error.outcome == "shutting-down":
            reader.state = "waiting"  # The next connection asks again.
            return
        if error.outcome == "invalid" and not reader.durable and reader.places is not None:
            # A log that it was in is gone. It begins anew.
            reader.state, reader.places = "waiting", None
            gap = {"topic": reader.frame["topic"], "reason": error.reason}
            self._tell(reader.on_gap or self._options.on_gap, gap)
            self._subscribe_all()
            return
        if reader.ready.done() and error.outcome not in ("denied", "invalid"):
            raise _Lost(1008, f"a subscription could not be resumed: {error}")
        self._end(reader, error)

    def _end(self, reader, error):
        self._forget(reader)
        if reader.ready.done():
            self._tell(reader.on_end, error)
        else:
            reader.ready.set_exception(error)

    def _forget(self, reader):
        self._readers = [other for other in self._readers if other is not reader]
        with self._lock:
            self._patterns = [pattern for pattern in self._patterns if pattern is not reader.pattern]
