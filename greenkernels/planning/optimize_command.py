"""The ``optimize`` command: plans a user's own network, and writes the plan and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import fx, nn

from ..user_model import UserModelError, load_inputs, load_model
from .api import plan as make_plan
from .exported import rebuild
from .plans import Plan


def optimize(
    model: Annotated[
        str, typer.Argument(help="package.module:factory, a file.pt2, or a network of the zoo.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="Each argument of a call: a shape as 1x3x224x224, or a .pt, .npy or .npz file; repeat, or use commas.",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Type of inputs given as shapes.")] = "float32",
    objective: Annotated[str, typer.Option(help="latency, energy or edp.")] = "latency",
    max_error: Annotated[
        float, typer.Option(help="Relative difference of the outputs that is allowed.")
    ] = 1e-5,
    threads: Annotated[int, typer.Option(min=0, help="torch's thread number; 0 leaves it as it is.")] = 0,
    time_budget: Annotated[float | None, typer.Option(help="Seconds to spend on timing, about.")] = None,
    max_memory: Annotated[
        int | None, typer.Option(help="Bytes for packed weights and scratch memory.")
    ] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Choose by rules, without a clock.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither read nor keep measurements on disk.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where a kernel would fall back.")] = False,
    out: Annotated[Path | None, typer.Option(help="File for the plan, as JSON.")] = None,
    report: Annotated[Path | None, typer.Option(help="File for a report, as HTML.")] = None,
) -> None:
    """Find out which layers of a network run better with another kernel, and say why the rest stays.

    Apply the plan with greenkernels.Plan.load("plan.json").apply(model).
    """
    try:
        for path in (out, report):
            _require_writable(path)
        network, left = _network(model)
        if threads:
            torch.set_num_threads(threads)
        made = make_plan(
            network,
            load_inputs(_with_dtype(inputs or [], dtype)),
            objective=objective,
            max_error=max_error,
            time_budget=time_budget,
            max_memory=max_memory,
            measure=not no_measure,
            cache=not no_cache,
            strict=strict,
        )
    except (UserModelError, ValueError, RuntimeError) as problem:
        typer.echo(f"optimize: {problem}", err=True)
        raise typer.Exit(1) from None
    typer.echo(str(made))
    for name, why in left.items():
        typer.echo(f"{name} stays as exported: {why}")
    _write(made, model, out, report)


def _network(text: str) -> tuple[nn.Module, dict[str, str]]:
    """The network, and the layers of an exported one that stay functions."""
    network = load_model(text)
    return (
        rebuild(network) if isinstance(network, fx.GraphModule) and text.endswith(".pt2") else (network, {})
    )


def _with_dtype(texts: list[str], dtype: str) -> list[str]:
    """Inputs one by one, shapes with their type."""
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    return [f"{part}:{dtype}" if part.replace("x", "").isdigit() else part for part in parts]


def _require_writable(path: Path | None) -> None:
    """Raises ValueError before hours of measuring, not after."""
    if path is not None and not path.resolve().parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.resolve().parent}; make it first")


def _write(made: Plan, model: str, out: Path | None, report: Path | None) -> None:
    written: list[Any] = []
    if out is not None:
        written.append(made.save(out))
    if report is not None:
        from ..report.network_page import NetworkResult, network_page

        written += network_page(f"greenkernels on {model}", [NetworkResult(made)], report)
    for path in written:
        typer.echo(f"wrote {path}")
