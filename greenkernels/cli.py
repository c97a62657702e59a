"""The command line: ``greenkernels VERB`` and ``python -m greenkernels VERB``.

A verb is a file: ``greenkernels/**/<verb>_command.py`` with a typed function ``<verb>``, whose docstring is
its help. It is imported only when its verb, or the list of all, is asked for; so a new verb edits no other
file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from ._version import __version__

_PACKAGE = Path(__file__).resolve().parent
_SUFFIX = "_command"


def verbs() -> dict[str, str]:
    """Verb -> module that has it."""
    found = {}
    for path in sorted(_PACKAGE.rglob(f"*{_SUFFIX}.py")):
        parts = path.relative_to(_PACKAGE.parent).with_suffix("").parts
        found[parts[-1].removesuffix(_SUFFIX)] = ".".join(parts)
    return found


def build_app(wanted: Iterable[str]) -> typer.Typer:
    """The command line with the verbs ``wanted``."""
    app = typer.Typer(name="greenkernels", no_args_is_help=True, add_completion=False)
    app.callback()(_root)
    modules = verbs()
    for verb in wanted:
        app.command(verb)(getattr(import_module(modules[verb]), verb))
    return app


def main() -> None:
    """Runs the command line. Imports one verb if that is named first, else all of them for the help text."""
    everything = verbs()
    first = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    build_app([first] if first in everything else everything)()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"greenkernels {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Drop-in PyTorch kernels that need less arithmetic."""
