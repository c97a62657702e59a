"""sensitivity: what the quality of a network loses where one layer alone is compressed, as a table and a heat map."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..measure.progress import progress_bar
from ..nn.int8_module import KeepsInt8Weight
from ..nn.quantized_module import KeepsPackedWeight
from ..nn.sparse_file import raw_bytes
from ..report.files import write_whole
from ..report.plots.canvas import Plot, drawing, finish, put_title
from ..report.tables import text_table
from .conversion import copy_pruned
from .factors import FORMS, factor
from .layers import Layers, apply_masks, prunable
from .pruning import prune
from .quantization import finish_shared, quantize, share

Metric = Callable[[nn.Module], float]
Method = Callable[[nn.Module, str], None]
METHODS = (
    "prune 0.5",
    "prune 0.8",
    "prune 0.9",
    "int8",
    "int4",
    "codebook 2",
    "low-rank 0.5",
    "low-rank 0.25",
)


@dataclass(frozen=True)
class Cell:
    """One layer compressed by one method.

    Attributes:
        quality: of the network; None where the method cannot be used on the layer.
        bytes: of the weight in memory afterwards, as its kernel would keep it: nonzeros take 6 bytes in float32.
        reason: why there is no quality.
    """

    layer: str
    method: str
    quality: float | None
    bytes: int | None
    reason: str = ""


@dataclass(frozen=True)
class Sensitivity:
    """What `sensitivity` found; prints as a table of the quality lost, in the unit of the metric.

    Attributes:
        quality: of the network as it is.
        cells: layer by layer.
        weight_bytes: layer -> bytes of its weight as it is.
    """

    quality: float
    cells: tuple[Cell, ...]
    weight_bytes: dict[str, int]

    @property
    def layers(self) -> list[str]:
        """In the order of the network."""
        return list(self.weight_bytes)

    @property
    def methods(self) -> list[str]:
        """In the order asked for."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    def lost(self, layer: str, method: str) -> float | None:
        """Quality as it is less that with this layer compressed; None where that cannot be."""
        found = next(cell.quality for cell in self.cells if (cell.layer, cell.method) == (layer, method))
        return None if found is None else self.quality - found

    def __str__(self) -> str:
        rows = [
            (
                layer or "(model)",
                f"{self.weight_bytes[layer]:,}",
                *(_words(self.lost(layer, m)) for m in self.methods),
            )
            for layer in self.layers
        ]
        table = text_table(("layer", "bytes", *self.methods), rows, right=range(1, 2 + len(self.methods)))
        return f"{table}\nquality lost by each layer alone, of {self.quality:.4g}"

    def plot(self) -> Plot:
        """The heat map; ``plot().save(folder)`` writes ``sensitivity.svg`` and ``.png``.

        Raises:
            ImportError: matplotlib is missing; the message says how to get it.
        """
        lost = [[self.lost(layer, method) for method in self.methods] for layer in self.layers]
        most = max((abs(v) for row in lost for v in row if v is not None), default=0.0) or 1.0
        title = "Quality lost by each layer alone"
        with drawing(1.6 + 0.9 * len(self.methods), 1.2 + 0.32 * len(self.layers)) as figure:
            axes = figure.subplots()
            shown = [[math.nan if v is None else v for v in row] for row in lost]
            axes.imshow(shown, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
            axes.set_xticks(range(len(self.methods)), self.methods, rotation=30, ha="right")
            axes.set_yticks(range(len(self.layers)), [layer or "(model)" for layer in self.layers])
            for y, row in enumerate(lost):
                for x, value in enumerate(row):
                    strong = value is not None and abs(value) > 0.6 * most
                    axes.text(
                        x,
                        y,
                        _words(value),
                        ha="center",
                        va="center",
                        color="#ffffff" if strong else "#1f2933",
                    )
            put_title(figure, title)
            alt = f"Quality lost by {len(self.layers)} layers under {len(self.methods)} methods, at most {most:.3g}."
            return finish(figure, "sensitivity", title, alt)


def sensitivity(
    model: nn.Module,
    metric: Metric,
    *,
    methods: Iterable[str] | Mapping[str, Method] = METHODS,
    layers: Layers = None,
    path: Path | str | None = None,
    progress: bool = True,
) -> Sensitivity:
    """Compresses one layer at a time and asks for the quality, without retraining.

    Args:
        model: in eval mode; it is not changed.
        metric: quality of a network, higher is better.
        methods: "prune S" (S of the weights to zero, by magnitude), "int8", "int4", "codebook 4", "codebook 2"
            (bits), or a form of `factor` with its share of the largest ranks, as "low-rank 0.5"; or name -> function
            that compresses the layer of that name in place.
        layers: names, or a function of name and module; None for all.
        path: JSON file that takes each cell as it is known; a later call with the same network and methods goes on.
        progress: whether to draw a bar, on a terminal.

    Raises:
        ValueError: no such method, or a quality that is not a number.
    """
    made = methods_of(methods)
    model = apply_masks(copy_pruned(model))
    chosen = prunable(model, layers)
    file = None if path is None else Path(path)
    known = _known(file, model, made)
    if "quality" not in known:
        known["quality"] = quality_of(metric, model, "the network as it is")
    with progress_bar("sensitivity", progress) as advance:
        for done, (layer, name) in enumerate((layer, name) for layer in chosen for name in made):
            advance(done / (len(chosen) * len(made)), f"{layer}, {name}")
            if f"{layer}|{name}" not in known["cells"]:
                known["cells"][f"{layer}|{name}"] = _cell(model, layer, name, made[name], metric)
                if file is not None:
                    write_whole(file, json.dumps(known, indent=1).encode())
    cells = tuple(Cell(**known["cells"][f"{layer}|{name}"]) for layer in chosen for name in made)
    return Sensitivity(known["quality"], cells, {name: _bytes(module) for name, module in chosen.items()})


def methods_of(methods: Iterable[str] | Mapping[str, Method]) -> dict[str, Method]:
    """Name -> function. Raises ValueError for a name that is no method."""
    return dict(methods) if isinstance(methods, Mapping) else {name: _method(name) for name in methods}


def compressed(model: nn.Module, layer: str, method: Method) -> nn.Module:
    """The network, in place, or what stands in for it if it is the layer itself."""
    whole = nn.Sequential(model)  # so that a network of one layer has a parent, too
    method(whole, f"0.{layer}" if layer else "0")
    return whole[0]


def _words(lost: float | None) -> str:
    return "-" if lost is None else f"{lost:.3g}"


def _method(name: str) -> Method:
    kind, _, amount = name.partition(" ")
    if name in FEW_BITS:
        return FEW_BITS[name]
    try:
        share = float(amount)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1 or (kind != "prune" and kind not in FORMS):
        raise ValueError(
            f"sensitivity: methods must be 'prune S', one of {', '.join(FEW_BITS)}, or of {', '.join(FORMS)} with a "
            f"share, got {name!r}"
        )
    if kind == "prune":
        return lambda model, layer: apply_masks(prune(model, share, layers=[layer])) and None
    return lambda model, layer: _factored(model, layer, kind, share)


def _factored(model: nn.Module, layer: str, form: str, share: float) -> None:
    module = model.get_submodule(layer)
    largest = FORMS[form].largest(module)
    _put(model, layer, factor(module, form, tuple(max(1, round(share * most)) for most in largest)))


def _rounded(bits: int) -> Method:
    def method(model: nn.Module, layer: str) -> None:
        _put(model, layer, quantize(model.get_submodule(layer), bits))

    return method


def _shared(bits: int) -> Method:
    def method(model: nn.Module, layer: str) -> None:
        _put(model, layer, finish_shared(share(model.get_submodule(layer), bits)))

    return method


FEW_BITS: dict[str, Method] = {
    "int8": _rounded(8),
    "int4": _rounded(4),
    "codebook 4": _shared(4),
    "codebook 2": _shared(2),
}


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _cell(model: nn.Module, layer: str, name: str, method: Method, metric: Metric) -> dict[str, object]:
    try:
        made = compressed(copy.deepcopy(model), layer, method)
    except ValueError as problem:
        return {"layer": layer, "method": name, "quality": None, "bytes": None, "reason": str(problem)}
    quality = quality_of(metric, made.eval(), f"{layer} with {name}")
    return {"layer": layer, "method": name, "quality": quality, "bytes": _bytes(made.get_submodule(layer))}


@torch.no_grad()
def quality_of(metric: Metric, model: nn.Module, what: str) -> float:
    """The metric of a network. Raises ValueError if that is not a number."""
    quality = float(metric(model))
    if not math.isfinite(quality):
        raise ValueError(f"sensitivity: the quality must be a number, got {quality} for {what}")
    return quality


def _bytes(module: nn.Module) -> int:
    """Of the weights: a byte each in int8, what is packed in fewer bits; of a pruned one each nonzero and its place."""
    total = 0
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if weight is None:
            continue
        size, nonzeros = weight.element_size(), int(weight.count_nonzero())
        if isinstance(part, KeepsInt8Weight):
            total += weight.numel()
        elif isinstance(part, KeepsPackedWeight):
            total += part.packed.numel()
        else:
            total += min(weight.numel() * size, nonzeros * (size + 2))
    return total


def _known(file: Path | None, model: nn.Module, methods: Mapping[str, Method]) -> dict:
    """What the file has of this network and these methods, or nothing yet."""
    digest = hashlib.sha256(repr([(n, type(m).__name__) for n, m in model.named_modules()]).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(raw_bytes(value.detach().cpu()))
    key = digest.hexdigest()
    try:
        found = json.loads(file.read_text()) if file is not None else {}
    except (OSError, ValueError):
        found = {}
    return found if found.get("key") == key else {"key": key, "cells": {}}
