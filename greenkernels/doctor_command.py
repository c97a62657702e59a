"""``greenkernels doctor``: which build is in use, why, and the one command that mends it."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from .doctor import Diagnosis, diagnose


def doctor(
    build: Annotated[
        bool,
        typer.Option(
            "--build", help="Compile the kernels now if no binary is there, even if that failed before."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Tell which build of the kernels is in use, what was looked for, and the command that mends it.

    Exits with 1 if ops compute with plain torch.
    """
    diagnosis = diagnose(build=build)
    if as_json:
        facts = {**dataclasses.asdict(diagnosis), "meaning": diagnosis.meaning}
        typer.echo(json.dumps(facts, default=str, indent=2))
    else:
        _print(diagnosis)
    raise typer.Exit(1 if diagnosis.status.kind == "plain-torch" else 0)


def _print(diagnosis: Diagnosis) -> None:
    # Lines are left to the terminal to wrap: a path or command that is cut or broken in two cannot be copied.
    console = Console(soft_wrap=True, highlight=False)
    width = max(len(finding.name) for finding in diagnosis.findings)
    for finding in diagnosis.findings:
        mark = "[green]ok[/]" if finding.ok else "[yellow]--[/]"
        console.print(f"{mark}  {finding.name:{width}}  {escape(finding.found)}")
    console.print(f"\n[bold]{diagnosis.status.kind}[/]: {diagnosis.meaning}")
    if diagnosis.status.reason:
        console.print(f"why: {diagnosis.status.reason}", markup=False)
    if diagnosis.mend:
        console.print(f"to mend it: {diagnosis.mend}", style="bold", markup=False)
    if diagnosis.more:
        console.print(f"more: {', '.join(diagnosis.more)}", markup=False)
