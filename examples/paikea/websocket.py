"""A WebSocket client of the smallest kind, after the one that Paikea's devices have: whole text messages, no TLS."""

import base64
import os
import socket
import struct
import urllib.parse


class Closed(Exception):
    """The server has ended the connection."""


class WebSocket:
    def __init__(self, url, seconds=None):
        """Connects. Whoever receives waits no longer than `seconds`, and gets a TimeoutError."""
        parts = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port or 80))
        target = parts.path or "/"
        if parts.query:
            target += "?" + parts.query
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nOrigin: http://localhost\r\n\r\n".encode()
        )
        self.waiting = b""
        while b"\r\n\r\n" not in self.waiting:
            self._more()
        head, _, self.waiting = self.waiting.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Closed(head.split(b"\r\n")[0].decode())
        self.socket.settimeout(seconds)

    def send(self, text):
        self._frame(0x1, text.encode())

    def receive(self):
        """The next message. What had come of it before a TimeoutError is there the next time."""
        while True:
            size, length = 2, self._at(2)[1]
            if length == 126:
                size, length = 4, struct.unpack("!H", self._at(4)[2:])[0]
            elif length == 127:
                size, length = 10, struct.unpack("!Q", self._at(10)[2:])[0]
            kind, payload = self._at(size + length)[0] & 0xF, self.waiting[size : size + length]
            self.waiting = self.waiting[size + length :]
            if kind == 0x1:
                return payload.decode()
            if kind == 0x8:
                raise Closed(f"closed with {int.from_bytes(payload[:2], 'big')}")
            if kind == 0x9:
                self._frame(0xA, payload)

    def _frame(self, kind, payload):
        length = len(payload)
        head = bytes([0x80 | kind])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 1 << 16:
            head += struct.pack("!BH", 0xFE, length)
        else:
            head += struct.pack("!BQ", 0xFF, length)
        mask = os.urandom(4)
        self.socket.sendall(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))

    def _at(self, length):
        """The bytes that wait, once there are so many."""
        while len(self.waiting) < length:
            self._more()
        return self.waiting[:length]

    def _more(self):
        came = self.socket.recv(4096)
        if not came:
            raise Closed("cut off")
        self.waiting += came
