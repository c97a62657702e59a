"""The ``calibrate`` command: fits the energy table to this machine, or says why it only measured times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .calibration import TRIALS, WINDOW_S, Calibration
from .calibration import calibrate as fit


def calibrate(
    out: Annotated[
        Path | None, typer.Option("--out", help="File for the table, to be named by --hardware afterwards.")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="rapl or zeus; default: the first.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Length of a window.")] = WINDOW_S,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Windows of each load.")] = TRIALS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Measure what idling, arithmetic, L2 and memory cost on this machine; without a counter, how fast they are."""
    try:
        found = fit(source, window_s=seconds, trials=trials)
        saved = found.save(out, out.stem) if out is not None and found.costs is not None else None
    except (ValueError, RuntimeError, OSError) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(as_plain(found), indent=1) if as_json else "\n".join(lines(found)))
    if saved is not None:
        typer.echo(f"wrote {saved}")
    elif out is not None:
        typer.echo(f"wrote nothing: {found.reason}", err=True)
        raise typer.Exit(1)


def as_plain(found: Calibration) -> dict[str, object]:
    """Everything in plain types."""
    rates = {name: rate.to_json() for name, rate in found.rates.items()}
    facts = {name: getattr(found, name) for name in ("costs", "residual", "source", "reason", "windows")}
    return {"rates": rates, **facts}


def lines(found: Calibration) -> list[str]:
    """The same for people."""
    told = [f"{name}: {r.value / 1e9:.4g} G{r.unit} (measured)" for name, r in found.rates.items()]
    if found.costs is None:
        return [*told, found.reason]
    for name, cost in found.costs.items():
        told.append(f"{name}: {cost:.4g} W" if name == "static watt" else f"{name}: {cost * 1e12:.4g} pJ")
    told.append(f"residual of the fit: {found.residual:.2%}, joules by {found.source}")
    return told + ([found.reason] if found.reason else [])
