"""`igbot keys`: the keyring that encrypts the tokens at rest."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import keyring
from services.cli.problem import Code, Problem, reason

if TYPE_CHECKING:
    from services.common.pb import tokens_pb2 as pb

STEP_SECONDS = 30.0
"""For one account, as for any other call; the whole takes as long as there are accounts."""
LONGEST_SECONDS = 6 * 3600.0

app = typer.Typer(no_args_is_help=True, help="The keys that encrypt tokens at rest.")


@app.command()
def new(
    *, stdout: Annotated[bool, typer.Option("--stdout", help="Print a key for a secret store; write none.")] = False
) -> None:
    """Make one more key in TOKEN_KEYS_DIR; new tokens are encrypted with it from then on."""
    import base64

    from services.cli.operator import operator_settings

    entropy = secrets.token_bytes(keyring.KEY_BYTES)
    if stdout:
        typer.echo(base64.b64encode(entropy).decode())
        return
    folder = operator_settings().token_keys_dir
    if folder is None:
        raise Problem("TOKEN_KEYS_DIR is not set, so there is no folder to put a key in.", Code.USAGE)
    try:
        name = keyring.new_key(folder, now=datetime.now(UTC), entropy=entropy)
    except OSError as error:
        raise Problem(f"cannot make a key in {folder}: {reason(error)}.") from error
    typer.echo(f"made {folder / name}; now run: igbot keys rotate")


@app.command()
def rotate() -> None:
    """Encrypt every token with the newest key; may be stopped and run again."""
    from services.cli.remote import run

    progress = run(_rotate())
    typer.echo(f"{progress.done} of {progress.total} tokens are encrypted with {progress.key_id}")
    if progress.unused_key_ids:
        typer.echo(f"no longer used, may be removed: {', '.join(progress.unused_key_ids)}")
    if progress.done < progress.total:
        raise Problem(
            f"{progress.total - progress.done} not rotated: they do not open, and the log of tokens names the accounts "
            "(token_not_rotated). Put the missing key back, or let these owners connect again; then run it again."
        )


async def _rotate() -> pb.RotateKeysProgress:
    """Follow the rotation with a bar; return its last message. Problem when it stands still."""
    import asyncio

    from rich.progress import Progress

    from services.cli.remote import tokens
    from services.cli.terminal import console
    from services.common.pb import tokens_pb2 as pb

    last = pb.RotateKeysProgress()
    async with tokens() as stub:
        with Progress(console=console(to_errors=True)) as bar:
            task = bar.add_task("encrypting", total=None)
            steps = aiter(stub.RotateKeys(pb.RotateKeysRequest(), timeout=LONGEST_SECONDS))
            try:
                while (step := await asyncio.wait_for(anext(steps, None), STEP_SECONDS)) is not None:
                    last = step
                    bar.update(task, completed=last.done, total=last.total)
            except TimeoutError as error:
                how = f"{last.done} of {last.total}"
                raise Problem(f"the rotation stands still at {how}; run it again", Code.UNREACHABLE) from error
    return last
