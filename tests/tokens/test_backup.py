"""Backup and restore as docs/operations.md has them, on a service that is running."""

import asyncio
import re
import sys
from pathlib import Path

import pymongo
import pytest

from services.common.pb import tokens_pb2 as pb
from tests.tokens.fakes import A, B
from tests.tokens.process import TokensProcess
from tests.tokens.test_process import connect, lend, make, meta

__all__ = ["make", "meta"]
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def commands(heading: str) -> str:
    """The shell commands under a heading."""
    section = OPERATIONS.read_text().split(f"### {heading}\n", 1)[1]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0]


async def shell(script: str, folder: Path, python: str) -> None:
    """Run commands as they stand, with this run's Python in place of the installation's."""
    script = script.replace(".venv/bin/python", python)
    process = await asyncio.create_subprocess_exec("sh", "-ec", script, cwd=folder)
    assert await process.wait() == 0


async def test_sqlite_files_are_backed_up_while_igbot_runs_and_restored(make, meta, tmp_path):
    process = make()
    await connect(process, meta, A)
    await shell(commands("Back up SQLite"), tmp_path, sys.executable)
    await connect(process, meta, B)
    assert process.stop() == 0
    await shell(commands("Restore SQLite"), tmp_path, sys.executable)
    process.start()
    assert (await lend(process, A)).version == 1
    listed = await process.stub.ListAccounts(pb.ListAccountsRequest(), timeout=20)
    assert [one.account for one in listed.accounts] == [A.account]


async def test_mongo_documents_are_all_that_a_restore_needs(make, meta, mongo_url, mongo_host):
    """mongodump and mongorestore are not here; what they carry, documents, is carried by hand."""
    process = make(DATABASE_URL=mongo_url)
    await connect(process, meta, A)
    name = mongo_url.rpartition("/")[2]
    with pymongo.MongoClient[dict[str, object]](mongo_host) as client:
        dump = {each: list(client[name][each].find()) for each in client[name].list_collection_names()}
        await connect(process, meta, B)
        assert process.stop() == 0
        client.drop_database(name)
        for each, documents in dump.items():
            if documents:
                client[name][each].insert_many(documents)
    process.start()
    assert (await lend(process, A)).version == 1
    listed = await process.stub.ListAccounts(pb.ListAccountsRequest(), timeout=20)
    assert [one.account for one in listed.accounts] == [A.account]


@pytest.mark.parametrize("heading", ["Back up SQLite", "Restore SQLite", "Back up MongoDB"])
def test_the_paragraphs_are_there(heading):
    assert commands(heading)


async def test_a_backup_without_its_keyring_lends_nothing(make, meta, tmp_path):
    process = make()
    await connect(process, meta, A)
    assert process.stop() == 0
    other = TokensProcess(tmp_path / "other", meta.url, DATABASE_URL=f"sqlite:///{tmp_path / 'var'}")
    (other.keys / "2026-01").rename(other.keys / "2026-02")
    other.start()
    try:
        await other.ready()
        findings = (await other.stub.Check(pb.CheckRequest(account=A.account), timeout=20)).findings
        assert any("2026-01" in one.found and "TOKEN_KEYS_DIR" in one.advice for one in findings)
    finally:
        await other.end()
