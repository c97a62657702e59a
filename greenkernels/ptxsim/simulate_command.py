"""The ``simulate`` command: a CUDA kernel of the library on the PTX simulator."""

from __future__ import annotations

import inspect
import json
import pkgutil
from enum import Enum
from importlib import import_module
from types import ModuleType
from typing import Annotated

import torch
import typer
from rich.console import Console

from .._toolchain import BuildError
from . import kernels, stems
from .device import Device
from .errors import PtxError
from .simulation import Problem, tables
from .simulation import simulate as run

_EXAMPLE = "128x128x64"


class Layout(str, Enum):
    """Of maps, as PyTorch names it."""

    CHANNELS_LAST = "channels_last"
    NCHW = "nchw"

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.contiguous_format if self is Layout.NCHW else torch.channels_last


def simulate(
    stem: Annotated[str, typer.Argument(help="Kernel, such as sgemm.")],
    size: Annotated[str, typer.Option(help="Sizes of the problem, such as 128x128x64.")] = _EXAMPLE,
    layout: Annotated[Layout | None, typer.Option(help="Of maps. Default: channels_last.")] = None,
    lines: Annotated[int, typer.Option(min=0, help="Source lines to show, the busiest first.")] = 12,
    races: Annotated[bool, typer.Option(help="Look for races: most of the time goes there.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Run a CUDA kernel without a GPU: check every access, compare with float64, count what it does."""
    try:
        problem = problem_of(stem, _sizes(size, stem), layout)
        simulation = run(Device(kernels.compiled(), races=races), problem)
    except (BuildError, PtxError, ValueError) as problem:
        mend = getattr(problem, "mend", "")
        typer.echo(f"{problem}. {mend}" if mend else str(problem), err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(simulation.to_json(), indent=1))
        return
    console = Console()
    for table in tables(simulation, lines):
        console.print(table)
    looked = "no race, no bad access, no bad barrier" if races else "no bad access, no bad barrier"
    console.print(f"{looked}; error against float64: {simulation.error:.1e}. Nothing here was timed.")


def problem_of(stem: str, sizes: tuple[int, ...], layout: Layout | None = None) -> Problem:
    """The problem of a stem.

    Raises:
        ValueError: there is no such stem, its sizes are others, or it has no maps to lay out.
    """
    make = _stem(stem).problem
    if layout is None:
        return make(sizes)
    if "memory_format" not in inspect.signature(make).parameters:
        raise ValueError(f"--layout must be left out, got {layout.value}: {stem} has no maps")
    return make(sizes, layout.memory_format)


def _stem(name: str) -> ModuleType:
    known = sorted(module.name for module in pkgutil.iter_modules(stems.__path__))
    if name not in known:
        raise ValueError(f"STEM must be one of {', '.join(known)}, got {name}")
    return import_module(f"{stems.__name__}.{name}")


def _sizes(text: str, stem: str) -> tuple[int, ...]:
    parts = text.split("x")
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"--size must be {_stem(stem).SIZES}, got {text}")
    return tuple(map(int, parts))
