import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from services.cli.problem import Code, Problem
from services.cli.up.children import Restarts
from services.cli.up.plan import Child
from services.cli.up.screen import Screen
from services.cli.up.supervise import Supervisor

LIVES = """
import os, signal, sys, time
name, diary = sys.argv[1:3]
def write(what):
    with open(diary, "a") as file:
        file.write(f"{name} {what} {os.getpid()}\\n")
def stop(*_):
    write("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
write("started")
while True:
    time.sleep(60)
"""
STUBBORN = LIVES.replace("signal.signal(signal.SIGTERM, stop)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")


class Diary:
    """What the children wrote, and a wait for the next entry."""

    def __init__(self, path: Path):
        self.path = path

    def lines(self, what=""):
        text = self.path.read_text() if self.path.exists() else ""
        return [line for line in text.splitlines() if what in line]

    async def has(self, count, what):
        async with asyncio.timeout(20):
            while len(self.lines(what)) < count:
                await asyncio.sleep(0.02)
        return [line.split() for line in self.lines(what)]


@pytest.fixture
def diary(tmp_path):
    return Diary(tmp_path / "diary")


@pytest.fixture
def child(diary):
    def make(name, code=LIVES):
        command = (sys.executable, "-c", code, name, str(diary.path))
        return Child(name=name, command=command, env={"PATH": os.environ["PATH"]})

    return make


@pytest.fixture
async def supervisor(tmp_path):
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    made = Supervisor(lock=lock, logs=tmp_path, stop_seconds=10, screen=Screen(live=False))
    yield made
    made.hurry.set()
    await made.stop()
    os.close(lock)
    os.close(made.reading_end)
    os.close(made.writing_end)


async def nothing():
    """Be ready at once."""


async def test_all_stop_in_order(supervisor, child, diary):
    for name in ("valkey", "tokens", "responder", "gateway", "sandbox"):
        await supervisor.start(child(name))
    await diary.has(5, "started")
    supervisor.stopping.set()
    await supervisor.until_stopped(nothing)
    await supervisor.stop()
    stopped = [line.split()[0] for line in diary.lines("stopped")]
    assert stopped == ["gateway", "responder", "tokens", "sandbox", "valkey"]


async def test_a_dead_child_is_started_again(supervisor, child, diary):
    await supervisor.start(child("tokens"))
    keeping = asyncio.create_task(supervisor.until_stopped(nothing))
    ((_, _, first),) = await diary.has(1, "started")
    os.kill(int(first), signal.SIGKILL)
    both = await diary.has(2, "started")
    assert both[1][2] != first
    supervisor.stopping.set()
    await keeping


async def test_a_child_that_keeps_dying_ends_everything_with_what_it_wrote(supervisor, child):
    await supervisor.start(child("tokens", "print('the reason'); raise SystemExit(1)"))
    with pytest.raises(Problem, match=r"tokens ended 6 times within a minute(.|\n)*the reason") as caught:
        await supervisor.until_stopped(nothing)
    assert caught.value.code == Code.FOUND_A_PROBLEM


async def test_a_child_that_refuses_its_settings_is_not_tried_again(supervisor, child, diary):
    code = LIVES.replace("while True:\n    time.sleep(60)", "sys.exit(2)")
    await supervisor.start(child("tokens", code))
    with pytest.raises(Problem, match="settings") as caught:
        await supervisor.until_stopped(nothing)
    assert caught.value.code == Code.USAGE
    assert len(diary.lines("started")) == 1


async def test_a_child_that_does_not_stop_is_ended(supervisor, child, diary, capsys):
    supervisor.stop_seconds = 0.2
    await supervisor.start(child("tokens", STUBBORN))
    await diary.has(1, "started")
    await supervisor.stop()
    assert supervisor.children["tokens"].process.returncode == -signal.SIGKILL
    assert "tokens did not stop in time" in capsys.readouterr().out


async def test_a_second_signal_waits_for_nobody(supervisor, child, diary):
    await supervisor.start(child("tokens", STUBBORN))
    await diary.has(1, "started")
    supervisor.signalled()
    supervisor.signalled()
    began = time.monotonic()
    await supervisor.stop()
    assert time.monotonic() - began < supervisor.stop_seconds / 2


@pytest.fixture
def signals():
    """Begin as a shell begins a program, whatever this run ignores (nohup), and put back what a test changes."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_a_lost_terminal_stops_it(supervisor, signals):
    supervisor.listen_for_signals()
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(10):
        await supervisor.stopping.wait()


async def test_an_interrupt_is_heard_also_in_a_shells_background(supervisor, signals):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervisor.listen_for_signals()
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(10):
        await supervisor.stopping.wait()


async def test_what_nohup_ignores_stays_ignored(supervisor, signals):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.listen_for_signals()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


async def test_a_failure_while_waiting_to_be_ready_is_not_swallowed(supervisor, child):
    await supervisor.start(child("tokens"))

    async def fail():
        raise Problem("no good")

    with pytest.raises(Problem, match="no good"):
        await supervisor.until_stopped(fail)


async def test_a_child_that_ends_instead_of_starting_is_told_with_its_last_words(supervisor, child):
    await supervisor.start(child("valkey", "print('Bad file format'); raise SystemExit(1)"))
    with pytest.raises(Problem, match=r"valkey ended with code 1 instead of starting(.|\n)*Bad file format"):
        await supervisor.unless_it_ends("valkey", asyncio.sleep(60))


async def test_a_child_that_starts_is_not_waited_for_further(supervisor, child):
    await supervisor.start(child("valkey"))
    await supervisor.unless_it_ends("valkey", nothing())


async def test_a_signal_ends_the_wait_for_a_child_that_starts(supervisor, child):
    await supervisor.start(child("valkey"))
    asyncio.get_running_loop().call_later(0.1, supervisor.signalled)
    async with asyncio.timeout(30):
        await supervisor.unless_it_ends("valkey", asyncio.sleep(60))
    assert supervisor.stopping.is_set()


async def test_what_fails_while_a_child_starts_is_not_swallowed(supervisor, child):
    await supervisor.start(child("valkey"))

    async def fail():
        raise Problem("no good")

    with pytest.raises(Problem, match="no good"):
        await supervisor.unless_it_ends("valkey", fail())


def test_restarts_are_five_a_minute():
    restarts = Restarts()
    assert [restarts.allow(now) for now in (0, 1, 2, 3, 4)] == [True] * 5
    assert not restarts.allow(59)
    assert restarts.allow(60.5)
    assert not restarts.allow(60.6)
