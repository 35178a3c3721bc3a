"""The responder's variables."""

import pytest

from services.common.settings import read
from services.responder.settings import Settings
from services.responder.words import is_word


def test_handover_url_needs_a_secret_to_sign_with(monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "pretend")
    monkeypatch.setenv("HANDOVER_URL", "https://crm.example.com/hook")
    with pytest.raises(SystemExit) as stopped:
        read(Settings)
    assert stopped.value.code == 2
    assert "ALERT_SECRET" in capsys.readouterr().err
    monkeypatch.setenv("ALERT_SECRET", "sesame")
    assert read(Settings).alert_secret is not None


@pytest.mark.parametrize(
    ("configured", "written"),
    [
        ("stop!", "Stop"),
        ("Stop.", "stop!"),
        ("arr\u00eate", "ARRE\u0302TE"),
        ("arre\u0302te", "arr\u00eate"),
        ("no  more", "No more!"),
    ],
)
def test_a_stop_word_is_compared_as_the_message_is_however_it_was_typed(monkeypatch, configured, written):
    monkeypatch.setenv("OPENAI_API_KEY", "pretend")
    monkeypatch.setenv("STOP_WORDS", f"unsubscribe,{configured}")
    monkeypatch.setenv("START_WORDS", configured)
    policy = read(Settings).policy
    assert is_word(written, policy.stop_words)
    assert is_word(written, policy.start_words)


@pytest.mark.parametrize("name", ["STOP_WORDS", "START_WORDS"])
def test_a_word_that_no_message_could_be_is_a_mistake(monkeypatch, capsys, name):
    """Taken as it is, it would be every message without words: a picture, a voice message."""
    monkeypatch.setenv("OPENAI_API_KEY", "pretend")
    monkeypatch.setenv(name, "stop,!")
    with pytest.raises(SystemExit) as stopped:
        read(Settings)
    assert stopped.value.code == 2
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "GRAPH_URL", "HANDOVER_URL"])
@pytest.mark.parametrize("value", ["foo", "ftp://model.example.com/v1", "https://", "https://[half"])
def test_what_is_no_address_is_refused_at_start(monkeypatch, capsys, name, value):
    monkeypatch.setenv("OPENAI_API_KEY", "pretend")
    monkeypatch.setenv("ALERT_SECRET", "sesame")
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        read(Settings)
    assert stopped.value.code == 2
    assert f"  {name}: " in capsys.readouterr().err
