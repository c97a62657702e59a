"""Recipes: what a TOML file says, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

from ..._version import __version__
from .steps import FINAL, STEPS


class RecipeError(ValueError):
    """A recipe that cannot be followed; the message names the step and the option."""


@dataclass(frozen=True)
class Step:
    """One step: its kind and its options, those that were not given included."""

    do: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """What to do to which network on which data.

    Attributes:
        name: of the recipe.
        network: ``package.module:factory``, built without arguments.
        steps: in order.
        weights: file of a state of the network to begin from, or "".
        reader: ``package.module:function`` of a folder, or None, and a checksum that gives the `Data`.
        data: its folder, "" for the one that it looks in by itself.
        checksum: of the data, "" for any.
        seed, batch: of training.
        floor: accuracy from which accuracy per joule is shown.
    """

    name: str
    network: str
    steps: tuple[Step, ...]
    weights: str = ""
    reader: str = "greenkernels.compress.pipeline.data:load"
    data: str = ""
    checksum: str = ""
    seed: int = 0
    batch: int = 128
    floor: float = 0.8

    def fingerprint(self, step: int, more: str) -> str:
        """Of what the network after so many steps depends on, so that a changed recipe goes on where it changed."""
        head = [self.network, self.reader, self._weights_digest(), self.seed, self.batch, __version__, more]
        steps = [[s.do, sorted(s.options.items())] for s in self.steps[:step]]
        return hashlib.sha256(json.dumps([head, steps]).encode()).hexdigest()

    def _weights_digest(self) -> str:
        """Of what the file of weights holds; "" where there is none."""
        path = Path(self.weights)
        return hashlib.sha256(path.read_bytes()).hexdigest() if self.weights and path.is_file() else ""


HEAD = {
    "name": str,
    "network": str,
    "weights": str,
    "reader": str,
    "data": str,
    "checksum": str,
    "seed": int,
    "batch": int,
    "floor": float,
}


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file.

    Raises:
        RecipeError: the file cannot be read, or says what is not there; the message names it.
    """
    try:
        said = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise RecipeError(f"{path}: {problem}") from problem
    steps = said.pop("step", [])
    for key, value in said.items():
        if key not in HEAD:
            raise RecipeError(f"{path}: there is no {key!r}, but {', '.join(HEAD)} and [[step]]")
        said[key] = _typed(value, HEAD[key], f"{path}: {key}")
    for key in ("name", "network"):
        if key not in said:
            raise RecipeError(f"{path}: {key} is missing")
    if not isinstance(steps, list) or not steps:
        raise RecipeError(f"{path}: there must be at least one [[step]]")
    made = Recipe(steps=tuple(_step(path, i, step) for i, step in enumerate(steps)), **said)
    _check(path, made)
    return made


def _step(path: Path, index: int, said: Any) -> Step:
    where = f"{path}: step {index + 1}"
    do = said.get("do") if isinstance(said, dict) else None
    if do not in STEPS:
        raise RecipeError(f"{where}: do must be one of {', '.join(STEPS)}, got {do!r}")
    options = dict(STEPS[do].options)
    for key, value in said.items():
        if key == "do":
            continue
        if key not in options:
            raise RecipeError(f"{where} ({do}): there is no {key!r}, but {', '.join(options) or 'no option'}")
        options[key] = _typed(value, type(options[key]), f"{where} ({do}): {key}")
    return Step(do, options)


def _typed(value: Any, kind: type, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise RecipeError(f"{where} must be {kind.__name__}, got {value!r}")
    return value


def _check(path: Path, recipe: Recipe) -> None:
    if recipe.batch < 1:
        raise RecipeError(f"{path}: batch must be 1 or more, got {recipe.batch}")
    if not 0 <= recipe.floor <= 1:
        raise RecipeError(f"{path}: floor must be in [0, 1], got {recipe.floor}")
    final = ""
    for index, step in enumerate(recipe.steps):
        if final and step.do not in FINAL:
            raise RecipeError(
                f"{path}: step {index + 1} ({step.do}) trains weights that step {final} has packed"
            )
        if step.do in FINAL:
            final = f"{index + 1} ({step.do})"
