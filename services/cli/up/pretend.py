"""Rules: how the services are told that the sandbox is Instagram and the model. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from services.cli.up.plan import Ports, reachable

CLIENT_ID = "1000000000000001"
VERIFY_TOKEN = "sandbox-verify"  # noqa: S105 - the sandbox's, worth nothing elsewhere


def pretend(env: Mapping[str, str], ports: Ports, *, secret: str) -> dict[str, str]:
    """Settings that lead to the sandbox. A model key in `env` is kept, and the real model is asked then."""
    public = f"http://{reachable(ports.listen['gateway'])}"
    meta = f"http://{reachable(ports.listen['sandbox'])}"
    told = {
        **env,
        "INSTAGRAM_CLIENT_ID": CLIENT_ID,
        "INSTAGRAM_CLIENT_SECRET": secret,
        "APP_SECRET": secret,
        "WEBHOOK_VERIFY_TOKEN": VERIFY_TOKEN,
        "PUBLIC_URL": public,
        "REDIRECT_URI": f"{public}/oauth/callback",
        "INSTAGRAM_AUTHORIZE_URL": f"{meta}/oauth/authorize",
        "INSTAGRAM_TOKEN_URL": f"{meta}/oauth/access_token",
        "GRAPH_URL": meta,
        "CONNECT_OPEN": "true" if ports.listen["gateway"].is_loopback else "false",
        "GAP_CHECK": env.get("GAP_CHECK") or "false",
    }
    if not env.get("OPENAI_API_KEY"):
        told |= {"OPENAI_API_KEY": "sandbox", "OPENAI_BASE_URL": f"{meta}/v1"}
    return told


def for_sandbox(env: Mapping[str, str], ports: Ports) -> dict[str, str]:
    """What the sandbox itself is told besides."""
    return {**env, "WEBHOOK_URL": f"http://{reachable(ports.listen['gateway'])}/webhook"}
