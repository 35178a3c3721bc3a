"""What `igbot up` shows: progress while things start, on a terminal; plain lines otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn


class Screen:
    """Lines on standard output, and one spinner for each part that is not ready yet."""

    def __init__(self, *, live: bool) -> None:
        """Show spinners when `live`."""
        self.console = Console(highlight=False, soft_wrap=True)
        self.progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            TextColumn("[yellow]{task.fields[waiting_for]}"),
            console=self.console,
            disable=not live,
        )
        self.tasks: dict[str, TaskID] = {}

    def expect(self, names: Iterable[str]) -> None:
        """Begin to wait for these parts."""
        self.tasks = {name: self.progress.add_task(name, total=1, waiting_for="") for name in names}
        self.progress.start()

    def waiting(self, name: str, reason: str) -> None:
        """Say what a part waits for."""
        self.progress.update(self.tasks[name], waiting_for=reason)

    def ready(self, name: str) -> None:
        """Tick one part off."""
        self.progress.update(self.tasks[name], completed=1, waiting_for="")

    def all_ready(self) -> None:
        """End the waiting."""
        self.progress.stop()

    def say(self, line: str) -> None:
        """Print one line, above the spinners if there are any."""
        self.console.print(f"igbot: {line}", markup=False)

    def links(self, rows: Iterable[tuple[str, str]]) -> None:
        """Print what to open."""
        self.console.print()
        for what, link in rows:
            self.console.print(f"  {what:<24} [bold cyan]{link}[/]")
        self.console.print()
