"""Runs in a pod beside igbot: plays the owner, the customers and Meta's deliveries. Needs only what igbot's image has.

python client.py connect | chat TEXT | load RATE PLAIN | settle SECONDS; each prints one line of JSON.
"""

import asyncio
import hashlib
import hmac
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path

import aiohttp

GATEWAY = os.environ["GATEWAY"]
SANDBOX = os.environ["SANDBOX"]
SECRET = os.environ["APP_SECRET"].encode()
ACCOUNT = "17841400000000001"
STRANGE = "17841400000000099"  # connected nowhere: taken in, and ignored by the responder
STOP = Path("/tmp/stop")
SENT = Path("/tmp/sent.json")
PATIENCE = aiohttp.ClientTimeout(total=10)


async def connect(session: aiohttp.ClientSession) -> dict[str, object]:
    """Connect the sandbox's first account as its owner would in a browser."""
    async with session.get(f"{GATEWAY}/connect") as page:
        asked = {**page.url.query, "account": ACCOUNT, "decision": "allow"}
        where = page.url.with_query(None)
    scopes = [("scope_allowed", scope) for scope in asked.get("scope", "").replace(" ", ",").split(",") if scope]
    async with session.post(where, data=[*asked.items(), *scopes]) as done:
        return {"ok": done.status == 200 and str(done.url).startswith(GATEWAY), "status": done.status}


async def chat(session: aiohttp.ClientSession, text: str) -> dict[str, object]:
    """Say something as a customer; wait for the answer that names it."""
    began, ledger = time.monotonic(), Ledger(session)
    said = {"account": ACCOUNT, "person": "6900000000000501", "text": text}
    async with session.post(f"{SANDBOX}/sandbox/say", json=said) as answer:
        answer.raise_for_status()
    while time.monotonic() - began < 90:
        if any(text in entry["text"] for entry in await ledger.read()):
            return {"ok": True, "seconds": round(time.monotonic() - began, 1)}
        await asyncio.sleep(0.5)
    return {"ok": False, "seconds": 90}


class Ledger:
    """What the bot has sent and Instagram accepted, and how deliveries went; read on from where one stopped."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Nothing read yet."""
        self.session = session
        self.next = 0
        self.sends: list[dict[str, str]] = []
        self.deliveries: Counter[str] = Counter()

    async def read(self) -> list[dict[str, str]]:
        """All sends so far."""
        async with self.session.get(f"{SANDBOX}/sandbox/ledger", params={"since": self.next}) as page:
            found = await page.json()
        self.next = found["next"]
        # Status 0: the connection was cut or refused; the sandbox sends it again, as it does after any other status.
        self.deliveries.update(str(entry["status"]) for entry in found["entries"] if entry["kind"] == "delivery")
        self.sends += [entry for entry in found["entries"] if entry["kind"] == "send" and entry["accepted"]]
        return self.sends


class Load:
    """Customers that write at a steady rate, each once, and signed deliveries of the loader's own besides.

    Both are sent again until they are answered 200: the customers' by the sandbox, which also has the conversations
    that igbot reads when it must find out whether a reply arrived.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Nothing sent yet."""
        self.session = session
        self.began = time.monotonic()
        self.run = str(int(time.time()))
        self.plain = 0
        self.taken = 0
        self.refused: list[str] = []
        self.cut: Counter[str] = Counter()
        self.sent: dict[str, str] = {}
        self.slowest = 0.0

    async def drive(self, rate: float, plain: float) -> dict[str, object]:
        """Until told to stop: so many messages a second to answer, and so many that nobody answers."""
        await asyncio.gather(self.steadily(rate, self.say), self.steadily(plain, self.deliver))
        SENT.write_text(json.dumps(self.sent))
        return {
            "minutes": round((time.monotonic() - self.began) / 60, 1),
            "signed by the loader": self.plain,
            "answered 200": self.taken,
            "other than 200": self.refused,
            "cut": dict(self.cut),
            "slowest ms": round(self.slowest * 1000),
        }

    async def steadily(self, rate: float, work: Callable[[int], Coroutine[None, None, None]]) -> None:
        """Begin one piece of work after the other at a rate, however long each takes."""
        tasks: set[asyncio.Task[None]] = set()
        number = 0
        while rate and not STOP.exists():
            number += 1
            task = asyncio.create_task(work(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(max(0.0, self.began + number / rate - time.monotonic()))
        await asyncio.gather(*tasks)

    async def deliver(self, number: int) -> None:
        """Deliver, signed, what is kept and then ignored."""
        self.plain += 1
        await self.until_taken(delivery(STRANGE, f"{self.run}9{number:08d}", "for nobody"))

    async def say(self, number: int) -> None:
        """Let a customer of the sandbox write, who delivers it and the echoes of what is answered."""
        person, text = f"{self.run}{number:08d}", f"load {self.run}-{number}"
        said = {"account": ACCOUNT, "person": person, "text": text}
        async with self.session.post(f"{SANDBOX}/sandbox/say", json=said) as answer:
            answer.raise_for_status()
        self.sent[person] = text

    async def until_taken(self, body: bytes) -> None:
        """Send it again until it is answered 200, as Meta does."""
        while not await self.attempt(body):
            await asyncio.sleep(0.2)

    async def attempt(self, body: bytes) -> bool:
        """One POST; whether it was answered 200. A connection that fails is counted apart."""
        signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature}
        began = time.monotonic()
        try:
            async with self.session.post(f"{GATEWAY}/webhook", data=body, headers=headers) as answer:
                await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.cut[type(error).__name__] += 1
            return False
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.taken += answer.status == 200
        if answer.status != 200:
            self.refused.append(f"{answer.status} at {began - self.began:.0f} s")
        return answer.status == 200


def delivery(account: str, person: str, text: str) -> bytes:
    """One message, as Meta delivers it."""
    now = int(time.time() * 1000)
    message = {"mid": f"m_{person}", "text": text}
    item = {"sender": {"id": person}, "recipient": {"id": account}, "timestamp": now, "message": message}
    entry = {"time": now, "id": account, "messaging": [item]}
    return json.dumps({"object": "instagram", "entry": [entry]}, separators=(",", ":")).encode()


async def settle(session: aiohttp.ClientSession, seconds: float) -> dict[str, object]:
    """Wait until every delivered message is answered; count who got nothing and who got it twice."""
    wanted: dict[str, str] = json.loads(SENT.read_text())
    end, ledger = time.monotonic() + seconds, Ledger(session)
    while True:
        answered = Counter(entry["person"] for entry in await ledger.read() if entry["person"] in wanted)
        if len(answered) == len(wanted) or time.monotonic() > end:
            break
        await asyncio.sleep(2)
    # A second reply would come a moment after the first.
    await asyncio.sleep(15)
    answered = Counter(entry["person"] for entry in await ledger.read() if entry["person"] in wanted)
    lost = [person for person in wanted if person not in answered]
    doubled = [person for person, count in answered.items() if count > 1]
    statuses = dict(ledger.deliveries)
    return {
        "signed by the sandbox": sum(statuses.values()),
        "taken": statuses.pop("200", 0),
        "cut by the kill": statuses.pop("0", 0),
        "refused": statuses,
        "customers": len(wanted),
        "lost": len(lost),
        "doubled": len(doubled),
        "examples": (lost + doubled)[:5],
    }


async def main(command: str, *arguments: str) -> dict[str, object]:
    """Do one thing."""
    async with aiohttp.ClientSession(timeout=PATIENCE) as session:
        if command == "connect":
            return await connect(session)
        if command == "chat":
            return await chat(session, *arguments)
        if command == "load":
            return await Load(session).drive(float(arguments[0]), float(arguments[1]))
        return await settle(session, float(arguments[0]))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
