"""The ``peers`` command: which rivals would take part in ``greenkernels bench --peers`` here."""

from __future__ import annotations

import typer

from ...report.tables import text_table
from . import CannotRun, registered


def peers() -> None:
    """List the rivals of a benchmark with their versions; for one that cannot run, why, and the command to get it."""
    there: list[tuple[str, str, str]] = []
    missing: list[str] = []
    for rival in registered():
        try:
            there.append((rival.name, rival.version(), rival.about))
        except CannotRun as reason:
            missing.append(f"  {rival.name}: {reason}")
    typer.echo(text_table(("rival", "version", "how it is driven"), there))
    if missing:
        typer.echo("\nnot here:\n" + "\n".join(missing))
        typer.echo("\nwhat pip can install beside torch, at once: pip install 'greenkernels[peers]'")
