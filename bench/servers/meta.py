"""A Meta and a model that answer at once, and the customers: `meta.py PORT GATEWAY_PORT SECRET ACCOUNT`.

Far cheaper than the sandbox, so that two cores are left to what is measured. Reads lines `RATE COUNT` from stdin; for
each it lets COUNT people write one message, RATE a second, waits until each has an answer, and prints one JSON line.
Every text that is sent comes back as a signed echo, as Instagram does it. A wait counts from when the message should
have left, so a stall is not hidden.
"""

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.loader import post

DELIVERIES_AT_ONCE = 16
PATIENCE = 60.0
COMPLETION = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1,
    "model": "bench",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "We open at ten on Sundays, and you are welcome to drop in."},
        }
    ],
    "usage": {"prompt_tokens": 60, "completion_tokens": 15, "total_tokens": 75},
}


class Meta:
    """What all connections share: the people, what they were told, and the deliveries that wait for a connection."""

    def __init__(self, gateway_port: int, secret: str, account: str) -> None:
        self.host, self.secret, self.account = f"127.0.0.1:{gateway_port}", secret.encode(), account
        self.port = gateway_port
        self.waiting: deque[bytes] = deque()
        self.idle: deque[Delivery] = deque()
        self.due: dict[str, float] = {}
        self.answered: dict[str, float] = {}
        self.twice = self.refused = self.people = self.mids = 0

    def deliver(self, sender: str, recipient: str, message: dict[str, object]) -> None:
        """Send one signed delivery as soon as a connection is free."""
        now = int(time.time() * 1000)
        item = {"sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": now, "message": message}
        body = {"object": "instagram", "entry": [{"time": now, "id": self.account, "messaging": [item]}]}
        self.waiting.append(post(json.dumps(body).encode(), self.secret, self.host))
        if self.idle:
            self.idle.popleft().send()

    def mid(self) -> str:
        self.mids += 1
        return f"aWdfZAG1faXRlbToxOklHTWVzc2FnZ{time.time_ns()}{self.mids:0>100}ZDZD"

    def say(self, person: str, due: float) -> None:
        self.due[person] = due
        self.deliver(person, self.account, {"mid": self.mid(), "text": "Do you open on Sunday?"})

    def call(self, method: str, path: str, body: bytes) -> dict[str, object]:
        """Answer one call of the responder."""
        if path.endswith("/chat/completions"):
            return COMPLETION
        if method == "GET":
            person = path.partition("?")[0].rpartition("/")[2]
            return {"id": person, "username": f"person{person}", "name": "Person"}
        asked = json.loads(body)
        person = asked["recipient"]["id"]
        if "message" not in asked:
            return {"recipient_id": person}
        self.twice += person in self.answered
        self.answered.setdefault(person, time.perf_counter())
        mid = self.mid()
        self.deliver(self.account, person, {"mid": mid, "text": asked["message"]["text"], "is_echo": True})
        return {"recipient_id": person, "message_id": mid}

    async def load(self, rate: float, count: int) -> dict[str, object]:
        """Let `count` new people write, `rate` a second, and wait for their answers."""
        self.due, self.answered, self.twice, self.refused = {}, {}, 0, 0
        began = time.perf_counter()
        for n in range(count):
            due = began + n / rate
            await asyncio.sleep(due - time.perf_counter())
            self.people += 1
            self.say(str(6_930_000_000_000_000 + self.people), due)
        give_up = time.perf_counter() + PATIENCE
        while len(self.answered) < count and time.perf_counter() < give_up:  # noqa: ASYNC110 - answers count
            await asyncio.sleep(0.05)
        waits = sorted(1000 * (at - self.due[person]) for person, at in self.answered.items())
        return {
            "asked": count,
            "answered": len(waits),
            "answered_twice": self.twice,
            "deliveries_not_200": self.refused,
            "waits_ms": [round(wait, 2) for wait in waits],
        }


class Delivery(asyncio.Protocol):
    """A keep-alive connection to the gateway: one delivery at a time."""

    def __init__(self, meta: Meta) -> None:
        self.meta, self.buffer = meta, b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.next()

    def send(self) -> None:
        self.transport.write(self.meta.waiting.popleft())

    def next(self) -> None:
        if self.meta.waiting:
            self.send()
        else:
            self.meta.idle.append(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if b"\r\n\r\n" in self.buffer:  # the gateway's answers to deliveries have no body
            self.meta.refused += b" 200 " not in self.buffer[:20]
            self.buffer = b""
            self.next()


class Door(asyncio.Protocol):
    """A keep-alive connection from the responder."""

    def __init__(self, meta: Meta) -> None:
        self.meta, self.buffer = meta, b""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            answer = json.dumps(self.meta.call(method, path, body)).encode()
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
            )


async def main() -> None:
    """Serve until stdin ends."""
    port, gateway_port, secret, account = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    meta, loop = Meta(gateway_port, secret, account), asyncio.get_running_loop()
    await loop.create_server(lambda: Door(meta), "127.0.0.1", port)
    for _ in range(DELIVERIES_AT_ONCE):
        await loop.create_connection(lambda: Delivery(meta), "127.0.0.1", gateway_port)
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        rate, count = line.split()
        print(json.dumps(await meta.load(float(rate), int(count))), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
