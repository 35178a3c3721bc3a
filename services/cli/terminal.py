"""The one console that tables and progress bars are drawn on."""

from __future__ import annotations

import sys

from rich.console import Console


def console(*, to_errors: bool = False) -> Console:
    """A console that neither colours numbers nor cuts lines where there is no terminal to fit into."""
    file = sys.stderr if to_errors else sys.stdout
    return Console(file=file, highlight=False, width=None if file.isatty() else 200)
