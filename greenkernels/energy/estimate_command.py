"""The ``estimate`` command: the analytic energy table of a user's network."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..user_model import UserModelError, load_inputs, load_model
from .breakdown import estimate as estimate_network
from .hardware_table import DEFAULT
from .hardware_table import hardware as find_hardware


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Model the energy of one call of a network: compute and memory of each layer. Nothing is measured."""
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
    typer.echo(json.dumps(found.to_json(), indent=1) if as_json else str(found))
