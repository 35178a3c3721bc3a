"""The command's front door: services start without loading the command line's libraries."""

from __future__ import annotations

import sys

from services.cli.services import SERVICES, run_service


def main() -> None:
    """Run what the arguments say; the exit code is 0 done, 1 problem or nothing found, 2 usage, 3 unreachable."""
    words = sys.argv[1:]
    if len(words) == 1 and words[0] in SERVICES:
        run_service(words[0])
        return
    from services.cli.app import run_command

    sys.exit(run_command(words))


if __name__ == "__main__":
    main()
