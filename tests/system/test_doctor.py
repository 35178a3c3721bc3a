"""`igbot doctor` against real services, the sandbox and a real Redis: one fault after the other, made on purpose."""

import asyncio
import json
import sys

import pytest
import redis

from tests.system.supervisor import ROOT, Supervisor
from tests.system.town import A, running

pytestmark = pytest.mark.long


class Office:
    """Where an operator runs the doctor; `ask` returns the exit code and the rows by their check."""

    def __init__(self, town):
        self.town, self.machine = town, town.machine

    async def ask(self, *, bad=(), **changes):
        """Ask, and up to four times more when others than these are red: a disk may be slow for a moment."""
        for _ in range(5):
            code, rows = await self.ask_once(**changes)
            if {name for name, row in rows.items() if row["ok"] is False} == set(bad):
                break
        return code, rows

    async def ask_once(self, **changes):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "services.cli.main", "doctor", "--json"),
            cwd=ROOT,
            env={**self.machine.environment(), **changes},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(120):
            out, _ = await process.communicate()
        rows = [json.loads(line) for line in out.splitlines()]
        return process.returncode, {row["check"]: row for row in rows}

    async def red(self, *names, **changes):
        """The checks that are red, which ought to be these, with what they say; the exit code must tell."""
        code, rows = await self.ask(bad=names, **changes)
        bad = {name: row for name, row in rows.items() if row["ok"] is False}
        assert code == (1 if bad else 0)
        assert list(bad) == list(names)
        assert all(row["advice"] for row in bad.values()), bad
        return bad

    async def again(self, name, **changes):
        """Start a service anew with other settings."""
        self.machine.kill(name)
        await self.machine.restart(name, **changes)


async def shop(town):
    (account,) = await town.accounts()
    return f"@{account.username}"


async def well(office):
    code, rows = await office.ask()
    assert {name for name, row in rows.items() if row["ok"] is not True} == {"certificate"}, rows
    assert code == 0
    wanted = ("tokens database write", "responder database indexes", "tokens meta app", "responder model", "raw body")
    assert set(wanted) < set(rows)


async def fault_of_the_model(office):
    await office.town.control("faults", target="model", kind="status", status=401, times=1000)
    bad = await office.red("responder model")
    await office.town.http.delete(f"{office.town.sandbox}/sandbox/faults")
    assert bad["responder model"]["advice"] == "OPENAI_API_KEY is refused"


async def fault_of_the_app_secret_at_meta(office):
    await office.again("tokens", INSTAGRAM_CLIENT_SECRET="not the one")
    await office.red("tokens meta app")
    await office.again("tokens")


async def fault_of_the_gateways_app_secret(office):
    await office.again("gateway", APP_SECRET="changed at Meta")
    await office.red("signed delivery")
    await office.again("gateway")


async def fault_of_a_dead_token(office):
    await office.town.control("revoke", account=A)
    shops = await shop(office.town)
    await office.red(f"{shops} token", f"{shops} subscription")


async def fault_of_webhook_fields(office):
    await office.town.control("dashboard", fields=["comments"])
    name = f"{await shop(office.town)} subscription"
    assert "messages" in (await office.red(name))[name]["advice"]


async def fault_of_redis(office):
    with redis.Redis.from_url(office.machine.redis_url) as client:
        client.config_set("appendfsync", "everysec")
        await office.red("redis appendfsync")
        client.config_set("appendfsync", "always")


async def fault_of_the_verify_token(office):
    await office.red("webhook", WEBHOOK_VERIFY_TOKEN="another")


async def fault_of_the_redirect_uri(office):
    await office.red("redirect uri", REDIRECT_URI="https://elsewhere.example/oauth/callback")


async def fault_of_the_keyring(office):
    empty = office.machine.folder / "empty"
    empty.mkdir()
    await office.red("settings tokens", "keyring", TOKEN_KEYS_DIR=str(empty))


async def fault_of_a_service(office):
    office.machine.kill("responder")
    await office.red("responder")
    await office.machine.restart("responder")


FAULTS = (
    fault_of_the_model,
    fault_of_the_app_secret_at_meta,
    fault_of_the_gateways_app_secret,
    fault_of_redis,
    fault_of_the_verify_token,
    fault_of_the_redirect_uri,
    fault_of_the_keyring,
    fault_of_a_service,
    fault_of_webhook_fields,
    fault_of_a_dead_token,
)


async def test_each_fault_is_found_and_named_and_nothing_else_is(tmp_path):
    async with running(Supervisor(tmp_path), A) as town:
        office = Office(town)
        await well(office)
        for fault in FAULTS:
            await fault(office)
