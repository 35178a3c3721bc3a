"""Any body, any header, any signature: never a 5xx, never slow. A raw socket, since clients refuse to send nonsense."""

import asyncio
import json
import os
import socket
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.gateway.world import SECRET, delivery, sign, start_gateway, until

FIXTURES = [file.read_bytes() for file in sorted((Path(__file__).parent.parent / "fixtures" / "webhooks").iterdir())]
SLOW_SECONDS = 0.05
LONG = os.environ.get("IGBOT_FUZZ_SECONDS", "65")


def damaged(body, places):
    """A fixture with some bytes changed."""
    found = bytearray(body)
    for place, value in places:
        found[place % len(found)] = value
    return bytes(found)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=30,
)
changes = st.tuples(st.integers(0, 5000), st.integers(0, 255))
bodies = st.one_of(
    st.binary(max_size=2000),
    st.builds(damaged, st.sampled_from(FIXTURES), st.lists(changes, max_size=6)),
    json_values.map(lambda value: json.dumps({"object": "instagram", "entry": value}).encode()),
    json_values.map(delivery),
    st.integers(1, 300_000).map(lambda size: b"[" * size),
)

printable = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60)
names = st.from_regex(r"\A[A-Za-z][A-Za-z0-9-]{0,20}\Z")
headers = st.lists(st.tuples(names, printable), max_size=6)
signatures = st.one_of(st.none(), st.just("right"), printable, printable.map(lambda text: "sha256=" + text))
framings = st.sampled_from(["length", "length", "length", "chunked", "none", "wrong", "both"])
paths = st.sampled_from(
    ["/webhook", "/webhook", "/webhook", "/webhook?x=1", "/webhook/", "//webhook", "/data-deletion"]
)


def raw_request(path, body, extra, signature, framing):
    """The bytes of a request."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [
        f"{name}: {value}" for name, value in extra if name.lower() not in {"content-length", "transfer-encoding"}
    ]
    if signature is not None:
        lines.append(f"X-Hub-Signature-256: {sign(body, SECRET) if signature == 'right' else signature}")
    if framing in {"length", "both"}:
        lines.append(f"Content-Length: {len(body)}")
    if framing == "wrong":
        lines.append("Content-Length: -1")
    sent = body
    if framing in {"chunked", "both"}:
        lines.append("Transfer-Encoding: chunked")
        sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + sent


def ask(port, data):
    """Send the bytes; return the status (None when it only hung up, or said nothing for long) and the seconds."""
    began = time.monotonic()
    answer = b""
    with suppress(TimeoutError), socket.create_connection(("127.0.0.1", port), timeout=3) as link:
        try:
            link.sendall(data)
            while piece := link.recv(65536):
                answer += piece
        except ConnectionError:
            pass
    return (int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else None), time.monotonic() - began


def ask_patiently(port, data):
    """Ask, and when it was slow or 503 up to eight times more: a machine that gave the gateway no processor for a while
    is not a slow body, which would be slow again.
    """
    status, took = ask(port, data)
    for pause in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10):
        if took < SLOW_SECONDS and status != 503:
            break
        time.sleep(pause)
        status, took = ask(port, data)
    return status, took


@pytest.mark.parametrize(("examples", "seconds"), [(150, 0.0), pytest.param(5000, float(LONG), marks=pytest.mark.long)])
async def test_no_request_is_a_5xx_or_slow(world, examples, seconds):
    gateway = start_gateway(world)
    port, done = gateway.port, []

    @settings(
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(paths, bodies, headers, signatures, framings)
    def fuzz(path, body, extra, signature, framing):
        data = raw_request(path, body, extra, signature, framing)
        status, took = ask_patiently(port, data)
        assert status is None or status < 500
        assert took < SLOW_SECONDS
        if signature == "right" and framing == "length" and path == "/webhook" and not extra:
            assert status == 200
        done.append(status)

    try:
        await until(gateway.ready, seconds=20)
        began, rounds = time.monotonic(), 0
        while not done or time.monotonic() - began < seconds:
            if rounds and settings().derandomize:
                seed(rounds)(fuzz)  # else each round would draw what the first one drew
            await asyncio.to_thread(fuzz)
            rounds += 1
        print(f"{len(done)} requests in {timedelta(seconds=time.monotonic() - began)}")
        assert len(done) >= examples * 0.9
        await until(lambda: world.inbox() == 0, seconds=30)
        assert gateway.process.poll() is None
    finally:
        gateway.kill()
