"""Runs a recipe step by step; what is done is on disk, all or nothing, and is not done again."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...measure.progress import progress_bar
from ...report.files import write_whole
from ...saving import load, save
from ...zoo.wheels import FetchError
from .data import Data, DataError, shortened
from .evaluation import Row, look_at, take_joules, take_times
from .fitting import Job
from .recipe import Recipe, RecipeError, Step
from .report import write_report
from .steps import STEPS
from .structure import describe, rebuild

Say = Callable[[str], None]


def run(
    recipe: Recipe, out: Path, *, data: Path | None = None, quick: bool = False, say: Say = print
) -> list[Row]:
    """Follows a recipe and writes ``report.md`` with plots; a run that was stopped goes on where it was.

    Each step leaves ``NN-name.safetensors`` (its weights, packed), ``NN-name.state.safetensors`` (the same as the next
    step takes them) and, last, ``NN-name.json`` (its row, and what the network is built of). Nothing is pickled. A
    search keeps what it knows in ``NN-search.notes-KEY.json`` and goes on in the middle. Steps of a recipe that was
    changed since are done again from the first change on.

    Args:
        recipe: of `read_recipe`.
        out: folder for all of it.
        data: folder for the recipe's reader; default: that of the recipe, else the one that the reader looks in.
        quick: one epoch a step and a small part of the data: to see that it runs.
        say: told of each step.

    Returns:
        A row for the network as it was given and for each step.

    Raises:
        RecipeError: the network, its weights or the reader cannot be had.
        DataError: the data cannot be read.
        ValueError: a step failed, as by a loss that is not a number; the message names it. Steps before it are kept.
    """
    found = _read(recipe, data)
    if quick:
        found = shortened(found)
        recipe = replace(recipe, steps=tuple(_quick(step) for step in recipe.steps))
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model: nn.Module | None = _network(recipe)
    job = Job(found, recipe.batch, recipe.seed)
    more = found.checksum + (" quick" if quick else "")
    rows: list[Row] = []
    done: list[Path] = []
    for index, step in enumerate((START, *recipe.steps)):
        path = out / f"{index:02d}-{step.do}"
        key = recipe.fingerprint(index, more)
        row = _known(path, key)
        if row is None:
            if model is None:
                model = _load(recipe, done[-1])
            job.epochs_done = sum(before.options.get("epochs", 0) for before in recipe.steps[: index - 1])
            row, model = _follow(step, model, job, path, key)
        else:
            model = None  # read again when it is needed
        say(f"{path.name}: accuracy {row.accuracy:.2%}, {row.nonzeros:,} nonzeros, {row.file_bytes:,} bytes")
        rows.append(row)
        done.append(path)
        best = max(range(len(rows)), key=lambda at: rows[at].accuracy)
        job.teacher = _load(recipe, done[best]) if index and index < len(recipe.steps) else None
    facts = _measured(out / "measured.json", recipe, found, rows, key)
    write_report(out, recipe, rows, facts, found, quick)
    return rows


START = Step("start", {})


def _imported(what: str, name: str) -> Callable[..., Any]:
    """What a recipe names as ``package.module:function``."""
    module, _, function = name.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)  # what is the user's own stands beside the recipe
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as problem:
        raise RecipeError(f"{what} must be package.module:function, got {name!r}: {problem}") from problem


def _read(recipe: Recipe, folder: Path | None) -> Data:
    """What the recipe's reader gives."""
    folder = folder or (Path(recipe.data) if recipe.data else None)
    try:
        found = _imported("reader", recipe.reader)(folder, recipe.checksum)
    except TypeError as problem:
        raise RecipeError(f"reader {recipe.reader!r} cannot give data: {problem}") from problem
    if not isinstance(found, Data):
        raise RecipeError(f"reader {recipe.reader!r} must give a Data, got {type(found).__name__}")
    if not len(found.train.labels) or not len(found.test.labels):
        raise DataError(f"{found.name} data must hold something to train and to test on, got nothing")
    return found


def _built(recipe: Recipe) -> nn.Module:
    """As the recipe's factory builds it."""
    try:
        model = _imported("network", recipe.network)()
    except (TypeError, FetchError) as problem:
        raise RecipeError(f"network {recipe.network!r} cannot be built: {problem}") from problem
    if not isinstance(model, nn.Module):
        raise RecipeError(f"network {recipe.network!r} must give an nn.Module, got {type(model).__name__}")
    return model


def _network(recipe: Recipe) -> nn.Module:
    """With the weights that the recipe names: a safetensors file, or a state that torch can load as such."""
    model = _built(recipe)
    if recipe.weights:
        try:
            if recipe.weights.endswith(".safetensors"):
                model = load(model, recipe.weights)
            else:
                model.load_state_dict(torch.load(recipe.weights, map_location="cpu", weights_only=True))
        except Exception as problem:
            raise RecipeError(f"weights {recipe.weights!r} cannot be loaded: {problem}") from problem
    return model.eval()


def _known(path: Path, key: str) -> Row | None:
    """The row of a step that was done for the same recipe, network and data."""
    try:
        said = json.loads(path.with_suffix(".json").read_text())
        return Row(**said["row"]) if said["key"] == key and _state_of(path).is_file() else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _state_of(path: Path) -> Path:
    return path.with_suffix(".state.safetensors")


def _load(recipe: Recipe, path: Path) -> nn.Module:
    """The network that a step left."""
    said = json.loads(path.with_suffix(".json").read_text())
    return load(rebuild(_built(recipe), said["structure"]), _state_of(path), plan="any").eval()


def _follow(step: Step, model: nn.Module, job: Job, path: Path, key: str) -> tuple[Row, nn.Module]:
    """Does a step and writes what it leaves, the row last."""
    path.with_suffix(".json").unlink(
        missing_ok=True
    )  # else it would vouch for files that are written before it
    torch.manual_seed(job.seed + job.epochs_done)
    job.notes = path.with_suffix(
        f".notes-{key[:8]}.json"
    )  # those of another recipe or of other data stay apart
    try:
        with progress_bar(path.name) as job.advance:
            if step is not START:
                model = STEPS[step.do].run(model, job, **step.options)
        row = look_at(model.eval(), path.name, job.data, path.with_suffix(".safetensors"))
    except (ValueError, RuntimeError) as problem:
        raise ValueError(
            f"{path.name}: {problem}; what was done before is kept in {path.parent}"
        ) from problem
    save(model, _state_of(path))
    said = {"key": key, "row": row.to_json(), "structure": describe(model)}
    write_whole(path.with_suffix(".json"), json.dumps(said, indent=1).encode())
    return row, model


def _measured(path: Path, recipe: Recipe, data: Data, rows: list[Row], key: str) -> dict[str, dict[str, Any]]:
    """Times and joules of all networks, taken last, when nothing of the pipeline trains any more."""
    try:
        said = json.loads(path.read_text())
        if said["key"] == key:
            return said["facts"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    models = {row.step: _load(recipe, path.with_name(row.step)) for row in rows}
    facts = take_times(models, data)
    for row in rows:
        facts[row.step] |= take_joules(models[row.step], data, recipe.floor, row.accuracy)
    write_whole(path, json.dumps({"key": key, "facts": facts}, indent=1).encode())
    return facts


def _quick(step: Step) -> Step:
    """At most an epoch; a step that does not train does not begin to."""
    epochs = {name: min(1, count) for name, count in step.options.items() if name == "epochs"}
    return Step(step.do, step.options | epochs)
