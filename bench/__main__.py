"""Take the measurements, one after the other: `python -m bench` all of them, `python -m bench lend store` these."""

import pkgutil
import subprocess
import sys
from pathlib import Path

TOOLS = {"__main__", "loader"}
"""What measurements use and is none itself."""


def measurements() -> list[str]:
    """The names of all measurements."""
    here = [str(Path(__file__).parent)]
    return sorted(found.name for found in pkgutil.iter_modules(here) if not found.ispkg and found.name not in TOOLS)


def main() -> int:
    """Run each in a process of its own, so that none warms the next; 1 when any failed or missed its budget."""
    wanted = sys.argv[1:] or measurements()
    unknown = set(wanted) - set(measurements())
    if unknown:
        print(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(measurements())}")
        return 2
    failed = []
    for name in wanted:
        print(f"── {name} ──", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all done")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
