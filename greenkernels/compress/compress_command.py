"""The ``compress`` command: follows a recipe from a network to a small one and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .pipeline import read_recipe, run

RECIPES = Path(__file__).resolve().parent / "recipes"


def compress(
    recipe: Annotated[
        str,
        typer.Argument(help="A recipe, as TOML, or the name of a ready one: see --list.", show_default=False),
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for networks and report; default: the recipe's name.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the data that the recipe reads.")] = None,
    quick: Annotated[bool, typer.Option(help="One epoch a step, little data: to see that it runs.")] = False,
    ready: Annotated[bool, typer.Option("--list", help="Name the ready recipes.")] = False,
) -> None:
    """Train, prune, factorize, distill, quantize and optimize a network by a recipe.

    A run that was stopped goes on where it was.
    """
    names = sorted(path.stem for path in RECIPES.glob("*.toml"))
    if ready or not recipe:
        typer.echo("\n".join(names))
        raise typer.Exit(0 if ready else 1)
    path = RECIPES / f"{recipe}.toml" if recipe in names else Path(recipe)
    try:
        found = read_recipe(path)
        folder = out or Path(found.name)
        run(found, folder, data=data, quick=quick, say=typer.echo)
    except ValueError as problem:  # a recipe, data or a step that cannot be: the message says which
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; what was done is kept, and the same command goes on", err=True)
        raise typer.Exit(130) from None  # as a shell reports a program that was interrupted
    typer.echo(f"wrote {folder / 'report.md'}")
