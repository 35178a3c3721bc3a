"""GetToken at 200 calls a second, open loop, against a real `igbot tokens` with 1,000 accounts on SQLite.

Budget: p99 at most 5 ms on two cores. Every account is asked for every five seconds, and memory answers for ten: so
every second or third answer waits for the store. A token that is the same there is not decrypted again.

    python -m bench lend
"""

import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio

from services.common.pb import tokens_pb2 as pb
from services.common.pb import tokens_pb2_grpc
from services.tokens import state
from services.tokens.accounts import TOKEN_FIELD, Profile
from services.tokens.keyring import Keyring
from services.tokens.sqlite_accounts import SqliteAccounts
from tests.ports import free_port

ACCOUNTS, RATE, SECONDS, WARM = 1_000, 200, 60, 5
BUDGET_MS = 5.0
RESULTS = Path(__file__).parent / "results"


def profile(number: int) -> Profile:
    """The ids of one account."""
    return Profile(str(17841400000000000 + number), str(27640000000000000 + number), f"shop_{number}")


async def fill(folder: Path, keys: Path) -> None:
    """Store the accounts, connected now."""
    ring, store, now = Keyring(keys), SqliteAccounts(folder), datetime.now(UTC)
    await store.open()

    async def put(number: int) -> None:
        who, later = profile(number), now + timedelta(days=1)
        sealed = ring.seal(who.account, TOKEN_FIELD, f"IGAA{number:060d}")
        stored = state.Stored(sealed, now, now + timedelta(days=60), now + timedelta(days=30))
        await store.put(who.account, lambda old: state.connected(old, who, stored, scopes=(), subscription_at=later))

    await asyncio.gather(*(put(number) for number in range(ACCOUNTS)))
    await store.close()


async def measure(stub: tokens_pb2_grpc.TokensStub, seconds: float) -> list[float]:
    """Call at a fixed rate, whatever the answers do; return each call's seconds, from when it was due."""
    began, taken, tasks = time.perf_counter(), [], []

    async def one(number: int, due: float) -> None:
        await stub.GetToken(pb.GetTokenRequest(account=profile(number % ACCOUNTS).account), timeout=5)
        taken.append(time.perf_counter() - due)

    for number in range(int(RATE * seconds)):
        due = began + number / RATE
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        # A late wake-up of this loader is not the service's; a late answer is.
        tasks.append(asyncio.ensure_future(one(number, max(due, time.perf_counter()))))
    await asyncio.gather(*tasks)
    return taken


async def run(folder: Path, seconds: float) -> list[float]:
    """Start the service, wait for it, warm it up, measure."""
    keys, port = folder / "keys", free_port()
    keys.mkdir()
    (keys / "1").write_text(base64.b64encode(os.urandom(32)).decode())
    await fill(folder / "var", keys)
    settings = {
        "PATH": os.environ["PATH"],
        "INSTAGRAM_CLIENT_ID": "1",
        "INSTAGRAM_CLIENT_SECRET": "bench",
        "REDIRECT_URI": "http://127.0.0.1/oauth/callback",
        "GRAPH_URL": "http://127.0.0.1:9",
        "DATABASE_URL": f"sqlite:///{folder / 'var'}",
        "TOKEN_KEYS_DIR": str(keys),
        "LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "OPS_ADDRESS": "127.0.0.1:0",
        "LOG_LEVEL": "error",
    }
    command = (sys.executable, "-m", "services.cli.main", "tokens")
    service = await asyncio.create_subprocess_exec(*command, env=settings)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = tokens_pb2_grpc.TokensStub(channel)
            await stub.ListAccounts(pb.ListAccountsRequest(), timeout=60, wait_for_ready=True)
            await measure(stub, WARM)
            return await measure(stub, seconds)
    finally:
        service.terminate()
        await service.wait()


def main() -> int:
    """Measure, print, write the results; 1 when the budget is missed."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with tempfile.TemporaryDirectory() as folder:
        taken = sorted(asyncio.run(run(Path(folder), seconds)))
    found = {f"p{share}_ms": at(taken, share / 100) for share in (50, 95, 99)} | {"max_ms": at(taken, 1)}
    for name, value in found.items():
        print(f"GetToken {name:8} {value:8.2f}")
    print(f"{len(taken)} calls at {RATE}/s, {ACCOUNTS} accounts")
    about = {"calls": len(taken), "per_second": RATE, "accounts": ACCOUNTS, "load_average": os.getloadavg()[0]}
    (RESULTS / "lend.json").write_text(json.dumps(about | found, indent=2) + "\n")
    return 0 if found["p99_ms"] <= BUDGET_MS else 1


def at(taken: list[float], share: float) -> float:
    """The milliseconds that this share of the calls took at most."""
    return round(taken[min(int(len(taken) * share), len(taken) - 1)] * 1000, 2)


if __name__ == "__main__":
    sys.exit(main())
