"""Tokens at rest."""

import base64
import os

import pytest

from services.tokens.accounts import Sealed
from services.tokens.keyring import Keyring, load_keys
from services.tokens.ports import KeyUnavailable, Unreadable


def new_key(folder, name):
    (folder / name).write_text(base64.b64encode(os.urandom(32)).decode() + "\n")


@pytest.fixture
def folder(tmp_path):
    new_key(tmp_path, "2026-01")
    return tmp_path


def test_what_was_sealed_opens(folder):
    ring = Keyring(folder)
    assert ring.open("1", "token", ring.seal("1", "token", "IGAA é")) == "IGAA é"


def test_the_same_text_is_never_sealed_to_the_same_bytes(folder):
    ring = Keyring(folder)
    assert ring.seal("1", "token", "x").blob != ring.seal("1", "token", "x").blob


def test_the_text_is_not_in_the_bytes(folder):
    assert b"IGAAsecret" not in Keyring(folder).seal("1", "token", "IGAAsecret").blob


def test_the_last_key_by_name_encrypts(folder):
    new_key(folder, "2026-02")
    new_key(folder, "2025-12")
    assert Keyring(folder).seal("1", "token", "x").key_id == "2026-02"


def test_an_older_key_still_opens(folder):
    sealed = Keyring(folder).seal("1", "token", "x")
    new_key(folder, "2026-02")
    assert Keyring(folder).open("1", "token", sealed) == "x"


@pytest.mark.parametrize(("account", "field"), [("2", "token"), ("1", "other")])
def test_a_ciphertext_moved_elsewhere_does_not_open(folder, account, field):
    ring = Keyring(folder)
    sealed = ring.seal("1", "token", "x")
    with pytest.raises(Unreadable):
        ring.open(account, field, sealed)


def test_a_ciphertext_under_another_keys_name_does_not_open(folder):
    (folder / "2026-02").write_bytes((folder / "2026-01").read_bytes())
    ring = Keyring(folder)
    with pytest.raises(Unreadable):
        ring.open("1", "token", Sealed("2026-01", ring.seal("1", "token", "x").blob))


@pytest.mark.parametrize("position", [0, 12, -1])
def test_an_altered_ciphertext_does_not_open(folder, position):
    ring = Keyring(folder)
    sealed = ring.seal("1", "token", "x")
    blob = bytearray(sealed.blob)
    blob[position] ^= 1
    with pytest.raises(Unreadable):
        ring.open("1", "token", Sealed(sealed.key_id, bytes(blob)))


@pytest.mark.parametrize("blob", [b"", b"short"])
def test_a_cut_off_ciphertext_does_not_open(folder, blob):
    with pytest.raises(Unreadable):
        Keyring(folder).open("1", "token", Sealed("2026-01", blob))


def test_an_unknown_key_is_looked_for_in_the_folder_again(folder):
    ring = Keyring(folder)
    new_key(folder, "2026-02")
    sealed = Keyring(folder).seal("1", "token", "x")
    assert ring.open("1", "token", sealed) == "x"


def test_a_missing_key_is_unavailable_and_named(folder):
    with pytest.raises(KeyUnavailable, match="'2020'"):
        Keyring(folder).open("1", "token", Sealed("2020", b"x" * 40))


def test_a_folder_that_breaks_later_keeps_the_keys_that_were_read(folder):
    ring = Keyring(folder)
    (folder / "2026-01").write_text("nonsense")
    assert not ring.reload()
    assert ring.current == "2026-01"


def test_dot_files_and_folders_are_no_keys(folder):
    (folder / ".hidden").write_text("x")
    (folder / "..data").mkdir()
    (folder / "more").mkdir()
    assert list(load_keys(folder)) == ["2026-01"]


@pytest.mark.parametrize("content", [b"", b"!!", b"\xff\xfe", base64.b64encode(b"x" * 16), b"x" * 32])
def test_a_broken_key_is_named_and_never_shown(folder, content):
    (folder / "broken").write_bytes(content)
    with pytest.raises(ValueError, match="broken") as caught:
        Keyring(folder)
    shown = content.decode(errors="ignore")
    assert not shown or shown not in str(caught.value)


def test_no_folder_and_no_key_are_errors(tmp_path):
    with pytest.raises(ValueError, match="igbot keys new"):
        load_keys(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="igbot keys new"):
        load_keys(tmp_path)
