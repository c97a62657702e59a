"""``python -m greenkernels.zoo``: fetch networks ahead of time; judge the rows of ``greenkernels bench networks``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..measure.rows import Run
from . import NETWORKS, FetchError, fetch, named
from . import bar as the_bar

app = typer.Typer(help=__doc__.replace("`", ""), no_args_is_help=True)


@app.command("fetch")
def fetch_networks(
    names: Annotated[list[str] | None, typer.Argument(help="Networks; default: all.")] = None,
) -> None:
    """Fetch weights and inputs into the cache, so that all else works without a network."""
    for name in names or NETWORKS:
        try:
            for file in named(name).files:
                fetch(file)
        except (FetchError, ValueError) as problem:
            typer.echo(f"zoo: {problem}", err=True)
            raise typer.Exit(1) from None
        typer.echo(f"{name} is here")


@app.command()
def bar(rows: Annotated[list[Path], typer.Argument(help="Files of rows.")]) -> None:
    """Does every network pass the bar? Exits with 1 where one does not."""
    try:
        runs = [the_bar.judge(Run.load(path).rows) for path in rows]
    except (OSError, ValueError) as problem:
        typer.echo(f"zoo: {problem}", err=True)
        raise typer.Exit(2) from None
    verdicts = [verdict for run in runs for verdict in run]
    typer.echo(the_bar.table(verdicts))
    if not verdicts or any(verdict.problems for verdict in verdicts):
        raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(app())
