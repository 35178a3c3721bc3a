"""The responder's variables."""

import pytest

from services.common.settings import read
from services.responder.settings import Settings


def test_handover_url_needs_a_secret_to_sign_with(monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "pretend")
    monkeypatch.setenv("HANDOVER_URL", "https://crm.example.com/hook")
    with pytest.raises(SystemExit) as stopped:
        read(Settings)
    assert stopped.value.code == 2
    assert "ALERT_SECRET" in capsys.readouterr().err
    monkeypatch.setenv("ALERT_SECRET", "sesame")
    assert read(Settings).alert_secret is not None
