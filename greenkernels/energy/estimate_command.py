"""The ``estimate`` command: the analytic energy table of a user's network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..measure.provenance import Measurement
from ..user_model import UserModelError, load_inputs, load_model
from .breakdown import Estimate
from .breakdown import estimate as estimate_network
from .hardware_table import DEFAULT
from .hardware_table import hardware as find_hardware
from .units import carbon_g, cost_per_million


def estimate(
    model: Annotated[
        str, typer.Argument(help="package.module:factory, a file.pt2, or a network of the zoo.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="Each argument of a call: a shape as 1x3x224x224, or a .pt, .npy or .npz file."
        ),
    ] = None,
    hardware: Annotated[str, typer.Option("--hardware", help="Name of a table of costs.")] = DEFAULT,
    price: Annotated[
        float | None, typer.Option("--price", help="Price of a kWh: prints the cost of a million calls.")
    ] = None,
    carbon: Annotated[
        float | None,
        typer.Option("--carbon", help="Grams of CO2e a kWh of the grid: prints those of a call."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Folder for a plot of compute, memory and communication.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Model the energy of one call of a network: compute, memory and communication of each layer. Measures nothing."""
    try:
        network, arguments = load_model(model), load_inputs(inputs or [])
        find_hardware(hardware)
    except (UserModelError, ValueError) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    try:
        found = estimate_network(network, arguments, hardware)
    except Exception as problem:  # out of the user's own code, whose traceback would bury what it says
        shapes = ", ".join(str(list(argument.shape)) for argument in arguments)
        typer.echo(f"{model} fails on inputs {shapes}: {type(problem).__name__}: {problem}", err=True)
        raise typer.Exit(1) from None
    try:
        extra = _extra(found, price, carbon)
        drawn = [] if plot is None else found.plot(plot)
    except (ValueError, ImportError) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(
            json.dumps(found.to_json() | {name: one.to_json() for name, one in extra.items()}, indent=1)
        )
        return
    typer.echo(str(found))
    for name, one in extra.items():
        typer.echo(f"{name.replace('_', ' ')}: {one.value:.3g} ({one.low:.3g} to {one.high:.3g}) {one.unit}")
    for path in drawn:
        typer.echo(f"wrote {path}")


def _extra(found: Estimate, price: float | None, carbon: float | None) -> dict[str, Measurement]:
    """What was asked for beside joules; nothing where the energy is unknown."""
    if found.energy_j is None:
        return {}
    extra = {}
    if price is not None:
        extra["cost_of_a_million_calls"] = cost_per_million(found.energy_j, price)
    if carbon is not None:
        extra["carbon_of_a_call"] = carbon_g(found.energy_j, carbon)
    return extra
