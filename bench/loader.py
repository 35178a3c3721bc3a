"""The load generator: its own process, raw HTTP/1.1 over keep-alive connections, closed loop or open loop.

Closed loop: each connection sends the next request when the last is answered; the figure is requests a second. Open
loop: requests leave at fixed times whatever the answers do, and latency counts from when a request should have left, so
a stall is not hidden; how late it left is told as well: that is the loader's own. Prints one JSON object. Its own share
of a core is in it: at 90 % it would be the bottleneck.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import resource
import time
from collections import Counter, deque

import uvloop

BODIES = 512
ACCOUNT = "17841400000000001"


def body(n: int, run: str) -> bytes:
    """About 490 bytes, as Instagram writes them."""
    item = {
        "sender": {"id": str(6900000000000000 + n % 500)},
        "recipient": {"id": ACCOUNT},
        "timestamp": int(time.time() * 1000),
        "message": {
            "mid": f"aWdfZAG1faXRlbToxOklHTWVzc2FnZA{run}{n:0>120}ZDZD",
            "text": f"Do you open on Sunday? {n} / é",
        },
    }
    entry = {"time": item["timestamp"], "id": ACCOUNT, "messaging": [item]}
    return json.dumps({"object": "instagram", "entry": [entry]}, separators=(",", ":")).replace("/", "\\/").encode()


def post(content: bytes, secret: bytes, host: str) -> bytes:
    """A signed delivery."""
    signature = hmac.new(secret, content, hashlib.sha256).hexdigest()
    head = (
        f"POST /webhook HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        "User-Agent: facebookexternalua\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests on it are answered in order."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.sent: deque[float] = deque()
        self.buffer = b""
        self.leaving = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.load.ready(self)

    def send(self, due: float) -> None:
        self.sent.append(due)
        self.transport.write(self.load.next_request())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            status = int(head[9:12])
            self.buffer = self.buffer[end + 4 + length :]
            if b"connection: close" in head:
                self.leaving = True
            self.load.answered(self, status, self.sent.popleft())

    def connection_lost(self, _error) -> None:
        self.load.lost(self)


class Load:
    """What all connections share."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.latencies: list[float] = []
        self.dues: list[float] = []
        self.late: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.idle: deque[Connection] = deque()
        self.waiting: deque[float] = deque()
        self.requests = self.make_requests()
        self.n = 0
        self.again: set[asyncio.Future[None]] = set()
        self.ends = 0.0
        self.open = 0
        self.closed_loop = not args.rate

    def make_requests(self) -> list[bytes]:
        host = f"127.0.0.1:{self.args.port}"
        if self.args.get:
            return [f"GET {self.args.get} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()]
        run = os.urandom(4).hex()
        return [post(body(n, run), self.args.secret.encode(), host) for n in range(BODIES)]

    def next_request(self) -> bytes:
        self.n += 1
        return self.requests[self.n % len(self.requests)]

    def ready(self, connection: Connection) -> None:
        self.open += 1
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def answered(self, connection: Connection, status: int, due: float) -> None:
        now = time.perf_counter()
        self.latencies.append(now - due)
        self.dues.append(due)
        self.statuses[str(status)] += 1
        if connection.leaving:
            connection.transport.close()  # another one is made when it is gone
        elif self.closed_loop:
            if now < self.ends:
                connection.send(now)
        elif self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def lost(self, connection: Connection) -> None:
        self.open -= 1
        self.statuses["lost"] += len(connection.sent)
        connection.sent.clear()
        if connection in self.idle:
            self.idle.remove(connection)
        if not self.closed_loop and (self.waiting or time.perf_counter() < self.ends):
            self.again.add(asyncio.ensure_future(connect(self)))

    async def closed(self) -> None:
        self.ends = time.perf_counter() + self.args.seconds
        for connection in list(self.idle):
            connection.send(time.perf_counter())
        await asyncio.sleep(self.args.seconds + 0.3)

    async def opened(self) -> None:
        begin = time.perf_counter() + 0.05
        total = int(self.args.rate * self.args.seconds)
        self.ends = begin + self.args.seconds
        sent = 0
        while sent < total:
            now = time.perf_counter()
            while sent < total and begin + sent / self.args.rate <= now:
                due = begin + sent / self.args.rate
                self.late.append(now - due)
                sent += 1
                if self.idle:
                    self.idle.popleft().send(due)
                else:
                    self.waiting.append(due)
            await asyncio.sleep(max(0.0, begin + sent / self.args.rate - time.perf_counter()))
        stop = time.perf_counter() + 5
        while sum(self.statuses.values()) < total and time.perf_counter() < stop:  # noqa: ASYNC110 - answers count
            await asyncio.sleep(0.05)
        self.statuses["unanswered"] += total - sum(self.statuses.values())


async def connect(load: Load) -> None:
    try:
        await asyncio.get_running_loop().create_connection(lambda: Connection(load), "127.0.0.1", load.args.port)
    except OSError:
        load.statuses["no connection"] += 1


def percentile(ordered: list[float], part: float) -> float:
    return round(1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))], 3) if ordered else 0.0


async def run(args: argparse.Namespace) -> dict[str, object]:
    load = Load(args)
    await asyncio.gather(*(connect(load) for _ in range(args.connections)))
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await (load.closed() if load.closed_loop else load.opened())
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ordered = sorted(load.latencies)
    return {
        "requests": len(ordered),
        "per_second": round(len(ordered) / args.seconds, 1),
        "p50_ms": percentile(ordered, 0.5),
        "p95_ms": percentile(ordered, 0.95),
        "p99_ms": percentile(ordered, 0.99),
        "max_ms": percentile(ordered, 1.0),
        "statuses": {name: count for name, count in load.statuses.items() if count},
        "loader_core": round(spent / wall, 2),
        "sent_late_p99_ms": percentile(sorted(load.late), 0.99),
        "each": [[due, round(1000 * wait, 3)] for due, wait in zip(load.dues, load.latencies, strict=True)]
        if args.each
        else [],
        "latencies_ms": [round(1000 * one, 3) for one in ordered[:: max(1, len(ordered) // 500)]]
        if args.detail
        else [],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0, help="open loop: requests a second")
    parser.add_argument("--secret", default="bench-secret")
    parser.add_argument("--get", default="", help="GET this path instead of posting deliveries")
    parser.add_argument("--detail", action="store_true")
    parser.add_argument("--each", action="store_true", help="tell when each request was due, and its wait")
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
