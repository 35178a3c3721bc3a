"""What ends a command early: one line for people and the exit code."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """The command's exit codes."""

    DONE = 0
    FOUND_A_PROBLEM = 1
    USAGE = 2
    UNREACHABLE = 3


def reason(error: OSError) -> str:
    """What the system says was wrong, in lower case: "no such file or directory"."""
    return (error.strerror or str(error)).lower()


class Problem(Exception):
    """Ends the command with one line on standard error."""

    def __init__(self, line: str, code: Code = Code.FOUND_A_PROBLEM) -> None:
        """Say what is wrong and what to do."""
        super().__init__(line)
        self.code = code
