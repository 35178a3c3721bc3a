"""`igbot accounts` and `igbot keys` against the real service."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

import pytest

from services.common.graph_errors import GraphError
from tests.tokens.fakes import A
from tests.tokens.process import TokensProcess
from tests.tokens.test_process import connect, make, meta

__all__ = ["make", "meta"]


@pytest.fixture
async def process(make, meta):
    one = make()
    await one.ready()
    await connect(one, meta)
    return one


async def igbot(process: TokensProcess, *words: str, said: str = "") -> tuple[int, str, str]:
    """Run a command; its code, output and errors."""
    settings = {"PATH": os.environ["PATH"], "TOKENS_ADDRESS": f"127.0.0.1:{process.port}", "COLUMNS": "200"}
    settings["TOKEN_KEYS_DIR"] = str(process.keys)
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "services.cli.main", *words)
    child = await asyncio.create_subprocess_exec(
        *command, env=settings, stdin=pipe, stdout=pipe, stderr=pipe, cwd=process.folder
    )
    out, err = await child.communicate(said.encode())
    assert child.returncode is not None
    return child.returncode, out.decode(), err.decode()


async def test_accounts_are_listed_shown_and_checked(process):
    code, out, _ = await igbot(process, "accounts", "list", "--json")
    assert (code, json.loads(out)["account"]) == (0, A.account)
    code, out, _ = await igbot(process, "accounts", "show", A.app_scoped_id)
    assert code == 0
    assert A.username in out
    assert "IGAA" not in out
    code, out, _ = await igbot(process, "accounts", "check", A.account)
    assert code == 0


async def test_a_dead_account_fails_its_check_with_what_to_do(process, meta):
    meta.meta.owners[A.account].dead = GraphError(400, 190, 460, "OAuthException")
    code, out, err = await igbot(process, "accounts", "check", A.account)
    assert code == 1
    assert "password changed" in out
    assert "token" in err


async def test_a_token_is_added_from_standard_input(process, meta):
    token = meta.meta.token(meta.meta.owners[A.account])
    code, out, err = await igbot(process, "accounts", "add", said=f"{token}\n")
    assert code == 0, err
    assert A.account in out
    assert token not in out + err + process.log
    code, _, err = await igbot(process, "accounts", "add", said="IGAAnobodysTokenAtAll123\n")
    assert code == 1
    assert "IGAAnobodys" not in err


async def test_refresh_and_disconnect(process, meta):
    code, out, _ = await igbot(process, "accounts", "refresh", A.account, "--json")
    assert (code, json.loads(out)["outcome"]) == (0, "too_young")
    code, _, _ = await igbot(process, "accounts", "disconnect", A.account, "--yes")
    assert code == 0
    _, out, _ = await igbot(process, "accounts", "list", "--json")
    assert json.loads(out)["state"] == "disconnected"


async def test_keys_are_rotated(process):
    Path(process.keys, "2026-02").write_text(base64.b64encode(os.urandom(32)).decode())
    code, out, err = await igbot(process, "keys", "rotate")
    assert code == 0, err
    assert "2026-01" in out + err


async def test_a_service_that_is_away_is_code_3(process):
    assert process.stop() == 0
    code, _, _ = await igbot(process, "accounts", "list")
    assert code == 3
