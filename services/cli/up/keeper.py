"""Runs one foreign program, as `python -m services.cli.up.keeper PROGRAM ARGUMENT...`, and ends it with its parent.

The program's standard input is this one's. It gets SIGTERM when this process gets one or when the parent's pipe
closes; its exit code is passed on.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from services.cli.lifeline import hold


def main() -> int:
    """Start the program, pass SIGTERM on, return its exit code."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # until there is a program to pass them on to
    program = subprocess.Popen(  # noqa: S603 - our own command line
        sys.argv[1:],
        close_fds=False,  # the folder's lock is held for as long as the program lives
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, signals),  # noqa: PLW1509 - one thread yet
    )
    for number in signals:
        signal.signal(number, lambda *_: program.terminate())
    hold()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    return program.wait()


if __name__ == "__main__":
    sys.exit(main())
