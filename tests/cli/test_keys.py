import base64
import stat
import threading
from datetime import UTC, datetime

import pytest

from services.cli import keyring
from services.common.pb import tokens_pb2 as pb
from services.tokens.keyring import load_keys

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def test_a_new_key_is_one_that_the_tokens_service_reads(bare, tmp_path):
    ran = bare("keys", "new", TOKEN_KEYS_DIR=str(tmp_path / "keys"))
    assert ran.code == 0
    (key,) = load_keys(tmp_path / "keys").values()
    assert len(key) == 32


def test_a_key_is_readable_for_its_owner_alone(tmp_path):
    name = keyring.new_key(tmp_path / "keys", now=NOON, entropy=bytes(32))
    assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_the_newest_key_sorts_last(tmp_path):
    (tmp_path / "2025").write_text("old")
    assert keyring.new_key(tmp_path, now=NOON, entropy=bytes(32)) == keyring.key_names(tmp_path)[-1]


def test_a_key_that_would_not_be_used_is_not_made(tmp_path):
    (tmp_path / "zeta").write_text("old")
    with pytest.raises(FileExistsError, match="zeta"):
        keyring.new_key(tmp_path, now=NOON, entropy=bytes(32))
    assert keyring.key_names(tmp_path) == ["zeta"]


def test_dot_files_are_not_keys(tmp_path):
    (tmp_path / ".gitignore").write_text("*")
    assert keyring.key_names(tmp_path) == []


def test_a_key_for_a_secret_store_is_printed_and_not_written(bare, tmp_path):
    ran = bare("keys", "new", "--stdout")
    assert len(base64.b64decode(ran.out)) == 32
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_there_is_no_new_key(bare):
    ran = bare("keys", "new")
    assert ran.code == 2
    assert "TOKEN_KEYS_DIR" in ran.err


def test_a_rotation_says_which_keys_are_no_longer_used(igbot, tokens):
    tokens.answers["RotateKeys"] = [
        pb.RotateKeysProgress(done=1, total=2, key_id="b"),
        pb.RotateKeysProgress(done=2, total=2, key_id="b", unused_key_ids=["a"]),
    ]
    ran = igbot("keys", "rotate")
    assert ran.code == 0
    assert "2 of 2 tokens are encrypted with b" in ran.out
    assert "may be removed: a" in ran.out


def test_an_unfinished_rotation_is_exit_code_one(igbot, tokens):
    tokens.answers["RotateKeys"] = [pb.RotateKeysProgress(done=1, total=2, key_id="b")]
    ran = igbot("keys", "rotate")
    assert ran.code == 1
    assert "1 of 2 tokens are encrypted with b" in ran.out
    assert "1 not rotated" in ran.err
    assert "run it again" in ran.err


class Standing(list):
    """A stream that stops after its first messages."""

    def __init__(self, first, held):
        super().__init__(first)
        self.held = held

    def __iter__(self):
        yield from super().__iter__()
        self.held.wait(30)


def test_a_rotation_that_stands_still_is_given_up(igbot, tokens, monkeypatch):
    monkeypatch.setattr("services.cli.keys.STEP_SECONDS", 0.2)
    held = threading.Event()
    tokens.answers["RotateKeys"] = Standing([pb.RotateKeysProgress(done=1, total=2, key_id="b")], held)
    try:
        ran = igbot("keys", "rotate")
    finally:
        held.set()
    assert ran.code == 3
    assert "stands still" in ran.err
    assert "Traceback" not in ran.err
