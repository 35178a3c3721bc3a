"""A child of `igbot up` ends when its parent is gone, however that ended.

The parent holds the writing end of a pipe and never writes. When it dies, also by SIGKILL, reading returns, and the
child asks itself to stop. This works on Linux and macOS alike, where a signal on the parent's death is Linux only.
"""

from __future__ import annotations

import os
import signal
import threading
import time

VARIABLE = "IGBOT_LIFELINE"
LAST_RESORT_SECONDS = 45


def hold() -> None:
    """Watch the parent's pipe, if there is one, from a thread that ends with the process."""
    end = os.environ.pop(VARIABLE, "")
    if end.isdigit():
        threading.Thread(target=_watch, args=(int(end),), daemon=True, name="lifeline").start()


def _watch(end: int) -> None:
    while os.read(end, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_RESORT_SECONDS)
    os._exit(1)
