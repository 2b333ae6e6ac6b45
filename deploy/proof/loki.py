"""A Loki that takes pushes as the real one does and keeps every line."""

import threading
from collections import Counter

import snappy
from server import Handler, Server

PUSH = "/loki/api/v1/push"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def fields(message):
    """Numbers and values of a protobuf message's fields; what has a length is given as bytes."""
    at = 0
    while at < len(message):
        key, at = snappy.varint(message, at)
        kind = key & 7
        if kind == VARINT:
            value, at = snappy.varint(message, at)
        elif kind == BYTES:
            size, at = snappy.varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            value, at = message[at : at + size], at + size
        else:
            raise snappy.Damaged(f"a field of kind {kind}")
        yield key >> 3, value


def entries(push):
    """The labels, the time in nanoseconds and the line of each entry of a PushRequest."""
    for number, stream in fields(push):
        if number != 1:
            continue
        parts = list(fields(stream))
        labels = next(value.decode() for number, value in parts if number == 1)
        for number, entry in parts:
            if number == 2:
                found = dict(fields(entry))
                stamp = dict(fields(found.get(1, b"")))
                yield labels, stamp.get(1, 0) * 1_000_000_000 + stamp.get(2, 0), found.get(2, b"").decode()


class Loki:
    """Lines by the labels of their stream, in the order in which they came."""

    def __init__(self):
        self.lines, self.pushes, self.refused = {}, 0, []
        self.lock = threading.Lock()
        self.server = Server(handler(self))
        self.url = self.server.url + PUSH

    def take(self, body):
        found = list(entries(snappy.unpack(body)))
        with self.lock:
            self.pushes += 1
            for labels, time, line in found:
                self.lines.setdefault(labels, []).append((time, line))

    def count(self):
        with self.lock:
            return sum(len(lines) for lines in self.lines.values())

    def contents(self, having=""):
        """How often each line came, in streams whose labels hold a text."""
        with self.lock:
            streams = [lines for labels, lines in self.lines.items() if having in labels]
        return Counter(line for lines in streams for _, line in lines)

    def stop(self):
        self.server.stop()


def handler(loki):
    class Push(Handler):
        def do_POST(self):
            try:
                if self.path != PUSH or self.headers.get("Content-Type") != "application/x-protobuf":
                    raise snappy.Damaged(f"{self.path}, {self.headers.get('Content-Type')}")
                loki.take(self.body())
                self.reply(204)
            except (ValueError, IndexError, StopIteration) as error:
                loki.refused.append(repr(error))
                self.reply(400)

    return Push
