"""`igbot gateway | tokens | responder | sandbox`: one service in this process."""

from __future__ import annotations

from importlib import import_module

from services.cli.lifeline import hold

SERVICES = {
    "gateway": "Take deliveries in and serve the OAuth pages.",
    "tokens": "Connect accounts, keep their tokens alive and lend them.",
    "responder": "Decide, write, send and record replies.",
    "sandbox": "Pretend to be Instagram and a language model; never in production.",
}


def run_service(name: str) -> None:
    """Run a service until SIGTERM; its settings come from the environment."""
    hold()
    import_module(f"services.{name}.compose").main()
