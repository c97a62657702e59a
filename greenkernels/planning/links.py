"""8-bit integers between layers: where two that follow each other both have kernels for them, none need become float.

The ranges are those of the stock network's values on the example and calibration inputs. What that does to the results
is judged as any replacement is; a link that breaks a bound is taken back, and the plan says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .candidates import named
from .certify import ConversionError, Converted, Proof, try_out
from .plans import LayerPlan
from .quality import Inputs, Judge, run
from .survey import Site
from .watch import watched

LINKED = "8 bits between layers"  # in the name of a contender
Range = tuple[float, float]


@dataclass(frozen=True)
class Link:
    """Two layers by name: what `giver` gives, `reader` alone reads."""

    giver: str
    reader: str


def possible_links(sites: Sequence[Site], layers: Sequence[LayerPlan]) -> list[Link]:
    """Pairs of layers that both got a kernel for 8-bit integers, the first one with its whole chain."""
    by_name = {layer.names[0]: layer for layer in layers}
    takes = {name for name, la in by_name.items() if la.stem is not None and named(la.stem).links(la.options)}
    return [
        Link(site.name, site.reader)
        for site in sites
        if {site.name, site.reader} <= takes and by_name[site.name].chain == site.chain
    ]


def link_layers(stock: nn.Module, done: Converted, sites: Sequence[Site], judge: Judge) -> Converted | None:
    """The converted network with 8-bit integers between layers, as many as the bounds allow; None for none.

    What could be linked and is not is noted in ``done.layers``.
    """
    links = possible_links(sites, done.layers)
    ranges = _ranges(stock, {link.reader for link in links}, [judge.checked[i] for i in judge.measured])
    kept = [link for link in links if link.reader in ranges]
    for link in links:
        if link not in kept:
            _note(done.layers, link, "its input is no finite float32 map in every call")
    while kept:
        layers = _joined(done.layers, kept, ranges)
        try:
            network, proof, found = try_out(stock, layers, done.memory_format, judge)
        except ConversionError as problem:
            for link in kept:
                _note(done.layers, link, f"the network does not run so: {problem}")
            return None
        broken = judge.broken(found)
        if not broken and not proof.silent:
            for layer in layers:
                layer.error = proof.errors.get(layer.names[0], layer.error)
            return Converted(network, layers, found, proof.work, done.memory_format)
        worst, why = _worst(kept, proof, broken)
        kept.remove(worst)
        _note(done.layers, worst, why)
    return None


def note_slower(converted: dict[str, Converted], form: str) -> None:
    """Say in the network that was chosen that the one with links was timed beside it."""
    other = converted.get(linked(form))
    if other is None:
        return
    for layer, linked_layer in zip(converted[form].layers, other.layers, strict=True):
        if "output_range" in linked_layer.options:
            layer.reason = "; ".join(filter(None, (layer.reason, "8 bits to the next layer were not faster")))


def linked(form: str) -> str:
    """Name of the network with links among the converted ones."""
    return f"{form}, {LINKED}"


def _joined(layers: Sequence[LayerPlan], links: Sequence[Link], ranges: dict[str, Range]) -> list[LayerPlan]:
    joined = [replace(layer, options=dict(layer.options)) for layer in layers]
    by_name = {layer.names[0]: layer for layer in joined}
    for link in links:
        giver, reader = by_name[link.giver], by_name[link.reader]
        giver.options["output_range"] = reader.options["input_range"] = list(ranges[link.reader])
        giver.reason = "; ".join(filter(None, (giver.reason, f"gives 8 bits to {link.reader}")))
    return joined


def _worst(links: Sequence[Link], proof: Proof, broken: str) -> tuple[Link, str]:
    """The link to take back, and why: one with a layer that does not run its kernel, else the one that errs most."""
    for link in links:
        for name in (link.giver, link.reader):
            if name in proof.silent:
                return link, proof.silent[name]
    errors = proof.errors
    worst = max(links, key=lambda link: errors.get(link.giver, 0.0) + errors.get(link.reader, 0.0))
    return worst, broken


def _note(layers: Sequence[LayerPlan], link: Link, why: str) -> None:
    for layer in layers:
        if layer.names[0] == link.giver:
            layer.reason = "; ".join(filter(None, (layer.reason, f"gives float to {link.reader}: {why}")))


def _ranges(stock: nn.Module, readers: set[str], inputs: Sequence[Inputs]) -> dict[str, Range]:
    """Layer -> least and largest value of its inputs; left out where one of them is not float32, or not finite."""
    names = {stock.get_submodule(name): name for name in readers}
    found: dict[str, Range] = {}
    bad: set[str] = set()

    def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name = names.get(module)
        if name is None:
            return
        x = args[0]
        if not isinstance(x, Tensor) or x.dtype != torch.float32 or not x.numel():
            bad.add(name)
            return
        low, high = (float(end) for end in x.aminmax())
        before = found.get(name, (low, high))
        found[name] = min(before[0], low), max(before[1], high)
        if not math.isfinite(low) or not math.isfinite(high):
            bad.add(name)

    with watched(list(names), see), torch.inference_mode():
        for given in inputs:
            run(stock, given)
    return {name: ends for name, ends in found.items() if name not in bad}
