"""sensitivity: what the quality of a network loses where one layer alone is compressed, as a table and a heat map."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..measure.progress import progress_bar
from ..nn.sparse_file import raw_bytes
from ..report.files import write_whole
from ..report.plots.canvas import Plot, drawing, finish, put_title
from ..report.tables import text_table
from .conversion import copy_pruned
from .costs import JOULES, Cost, cost_of, weight_bytes
from .layers import Layers, apply_masks, prunable
from .methods import METHODS, Method, compressed, methods_of

Metric = Callable[[nn.Module], float]
FLOOR = 0.99  # of the quality as it is: below it there is no quality per joule


@dataclass(frozen=True)
class Cell:
    """One layer compressed by one method.

    Attributes:
        quality: of the network; None where the method cannot be used on the layer.
        bytes: of the weight in memory afterwards, as its kernel would keep it: nonzeros take 6 bytes in float32.
        reason: why there is no quality.
        cost: of the whole network then, if costs were asked for.
    """

    layer: str
    method: str
    quality: float | None
    bytes: int | None
    reason: str = ""
    cost: float | None = None


@dataclass(frozen=True)
class Sensitivity:
    """What `sensitivity` found; prints as a table of the quality lost, in the unit of the metric.

    Attributes:
        quality: of the network as it is.
        cells: layer by layer.
        weight_bytes: layer -> bytes of its weight as it is.
        cost: of the network as it is, if costs were asked for.
        unit: of costs, "J" for modelled joules; "" where it is not known.
    """

    quality: float
    cells: tuple[Cell, ...]
    weight_bytes: dict[str, int]
    cost: float | None = None
    unit: str = ""

    @property
    def layers(self) -> list[str]:
        """In the order of the network."""
        return list(self.weight_bytes)

    @property
    def methods(self) -> list[str]:
        """In the order asked for."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    def cell(self, layer: str, method: str) -> Cell:
        """What was found for a layer and a method."""
        return next(cell for cell in self.cells if (cell.layer, cell.method) == (layer, method))

    def lost(self, layer: str, method: str) -> float | None:
        """Quality as it is less that with this layer compressed; None where that cannot be."""
        found = self.cell(layer, method).quality
        return None if found is None else self.quality - found

    def left(self, layer: str, method: str) -> float | None:
        """Share of the cost, or of the bytes of all weights, that is left with this layer compressed."""
        cell = self.cell(layer, method)
        if cell.quality is None:
            return None
        if self.cost is not None:
            return cell.cost / self.cost
        return 1 - (self.weight_bytes[layer] - cell.bytes) / sum(self.weight_bytes.values())

    def per_joule(self, layer: str, method: str) -> float | None:
        """Quality per modelled joule with this layer compressed; None below `FLOOR`, and where costs are no joules."""
        cell = self.cell(layer, method)
        if (
            self.unit != JOULES
            or cell.quality is None
            or not cell.cost
            or cell.quality < FLOOR * self.quality
        ):
            return None
        return cell.quality / cell.cost

    def __str__(self) -> str:
        what = "bytes of weights" if self.cost is None else "cost"
        lost = self._table(self.lost, "3g")
        return (
            f"{lost}\nquality lost by each layer alone, of {self.quality:.4g}\n\n"
            f"{self._table(self.left, '1%')}\nshare of the {what} that is left then{self._said_of_joules()}"
        )

    def _said_of_joules(self) -> str:
        if self.unit != JOULES:
            return ""
        return (
            f"; in the last column the best of its methods that keep {FLOOR:.0%} of the quality, for "
            f"{self.quality / self.cost:.4g} as it is, joules modelled"
        )

    def _table(self, of: Callable[[str, str], float | None], form: str) -> str:
        with_joules = self.unit == JOULES and of == self.left
        rows = [
            (
                layer or "(model)",
                f"{self.weight_bytes[layer]:,}",
                *(_words(of(layer, method), form) for method in self.methods),
                *([self._best_per_joule(layer)] if with_joules else []),
            )
            for layer in self.layers
        ]
        heads = ("layer", "bytes", *self.methods, *(["quality / J"] if with_joules else []))
        return text_table(heads, rows, right=range(1, len(heads)))

    def _best_per_joule(self, layer: str) -> str:
        found = [self.per_joule(layer, method) for method in self.methods]
        return _words(max((each for each in found if each is not None), default=None), "4g")

    def plot(self) -> Plot:
        """Heat maps of what is lost and what is left; ``plot().save(folder)`` writes ``sensitivity.svg`` and ``.png``.

        Raises:
            ImportError: matplotlib is missing; the message says how to get it.
        """
        lost, left = (
            [[of(la, m) for m in self.methods] for la in self.layers] for of in (self.lost, self.left)
        )
        most = max((abs(v) for row in lost for v in row if v is not None), default=0.0) or 1.0
        title = "Each layer alone: quality lost, and share of the cost left"
        with drawing(2 * (1.6 + 0.9 * len(self.methods)), 1.2 + 0.32 * len(self.layers)) as figure:
            first, second = figure.subplots(1, 2)
            self._heat(first, lost, "3g", {"cmap": "RdBu_r", "vmin": -most, "vmax": most})
            self._heat(second, left, "0%", {"cmap": "Blues", "vmin": 0, "vmax": 1})
            put_title(figure, title)
            alt = f"Quality lost by {len(self.layers)} layers under {len(self.methods)} methods, at most {most:.3g}."
            return finish(figure, "sensitivity", title, alt)

    def _heat(self, axes: Any, values: list[list[float | None]], form: str, colours: dict[str, Any]) -> None:
        """One map, a row a layer; white words where the colour is dark."""
        shown = [[math.nan if v is None else v for v in row] for row in values]
        axes.imshow(shown, aspect="auto", **colours)
        axes.set_xticks(range(len(self.methods)), self.methods, rotation=30, ha="right")
        axes.set_yticks(range(len(self.layers)), [layer or "(model)" for layer in self.layers])
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                dark = value is not None and abs(value) > 0.6 * colours["vmax"]
                colour = "#ffffff" if dark else "#1f2933"
                axes.text(x, y, _words(value, form), ha="center", va="center", color=colour)


def sensitivity(
    model: nn.Module,
    metric: Metric,
    *,
    methods: Iterable[str] | Mapping[str, Method] = METHODS,
    layers: Layers = None,
    cost: Cost | None = None,
    path: Path | str | None = None,
    progress: bool = True,
) -> Sensitivity:
    """Compresses one layer at a time and asks for the quality, without retraining.

    Args:
        model: in eval mode; it is not changed.
        metric: quality of a network, higher is better.
        methods: "prune S" (S of the weights to zero, by magnitude), "sparse S" (the same on the sparse kernels),
            "int8", "int4", "codebook 4", "codebook 2" (bits), a form of `factor` with its share of the largest ranks,
            as "low-rank 0.5", or a kernel for the layer as it is, as "winograd_conv2d tile=4"; or name -> function
            that compresses the layer of that name in place.
        layers: names, or a function of name and module; None for all.
        cost: of a network, as `modelled_joules` or `measured_seconds` make it; None: bytes of weights alone.
        path: JSON file that takes each cell as it is known; a later call with the same network and cost goes on.
        progress: whether to draw a bar, on a terminal.

    Raises:
        ValueError: no such method, or a quality that is not a number.
    """
    made = methods_of(methods)
    model = apply_masks(copy_pruned(model))
    chosen = prunable(model, layers)
    file = None if path is None else Path(path)
    known = _known(file, model, cost)
    if "quality" not in known:
        known["quality"] = quality_of(metric, model, "the network as it is")
        known["cost"] = None if cost is None else cost_of(cost, model, "sensitivity")
    with progress_bar("sensitivity", progress) as advance:
        for done, (layer, name) in enumerate((layer, name) for layer in chosen for name in made):
            advance(done / (len(chosen) * len(made)), f"{layer}, {name}")
            if f"{layer}|{name}" not in known["cells"]:
                known["cells"][f"{layer}|{name}"] = _cell(model, layer, name, made[name], metric, cost)
                if file is not None:
                    write_whole(file, json.dumps(known, indent=1).encode())
    cells = tuple(Cell(**known["cells"][f"{layer}|{name}"]) for layer in chosen for name in made)
    sizes = {name: weight_bytes(module) for name, module in chosen.items()}
    return Sensitivity(known["quality"], cells, sizes, known["cost"], getattr(cost, "unit", ""))


def _words(value: float | None, form: str = "3g") -> str:
    return "-" if value is None else f"{value:.{form}}"


def _cell(
    model: nn.Module, layer: str, name: str, method: Method, metric: Metric, cost: Cost | None
) -> dict[str, object]:
    found = {"layer": layer, "method": name, "quality": None, "bytes": None}
    try:
        made = compressed(copy.deepcopy(model), layer, method).eval()
    except ValueError as problem:
        return found | {"reason": str(problem)}
    found["quality"] = quality_of(metric, made, f"{layer} with {name}")
    found["bytes"] = weight_bytes(made.get_submodule(layer))
    return found if cost is None else found | {"cost": cost_of(cost, made, "sensitivity")}


@torch.no_grad()
def quality_of(metric: Metric, model: nn.Module, what: str) -> float:
    """The metric of a network. Raises ValueError if that is not a number."""
    quality = float(metric(model))
    if not math.isfinite(quality):
        raise ValueError(f"sensitivity: the quality must be a number, got {quality} for {what}")
    return quality


def _known(file: Path | None, model: nn.Module, cost: Cost | None) -> dict:
    """What the file has of this network and this cost, or nothing yet."""
    about = [(n, type(m).__name__) for n, m in model.named_modules()]
    named = getattr(cost, "key", None) or getattr(cost, "__qualname__", str(cost))
    digest = hashlib.sha256(repr([about, named]).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(raw_bytes(value.detach().cpu()))
    key = digest.hexdigest()
    try:
        found = json.loads(file.read_text()) if file is not None else {}
    except (OSError, ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) and found.get("key") == key else {"key": key, "cells": {}}
