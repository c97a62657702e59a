"""What a network of the pipeline is built of, as JSON: which layers are not those that its factory makes.

With it, the factory and a safetensors file a step's network is there again, without unpickling anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from ...nn import (
    CodebookLinear,
    HalfLinear,
    Int4Linear,
    Int8Conv2d,
    Int8Linear,
    PairedMaxPool2d,
    SparseConv2d,
    SparseLinear,
    WinogradConv2d,
)
from ...planning import restore
from ...planning.convert import PLAN_ATTRIBUTE
from ..factors import Factored

Described = dict[str, Any]


class Kind(NamedTuple):
    """How layers of a class are described and made."""

    describe: Callable[[Any], Described]
    build: Callable[..., nn.Module]


def _linear(layer: Any, *more: str) -> Described:
    names = ("in_features", "out_features", *more)
    return {name: getattr(layer, name) for name in names} | {"bias": layer.bias is not None}


def _conv(layer: Any, *more: str) -> Described:
    names = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        *more,
    )
    return {name: getattr(layer, name) for name in names} | {"bias": layer.bias is not None}


def _norm(layer: Any) -> Described:
    return {name: getattr(layer, name) for name in ("num_features", "eps", "momentum", "affine")}


def _chain(layer: Factored) -> Described:
    parts = [[type(part).__name__, KINDS[type(part).__name__].describe(part)] for part in layer]
    return {"layers": parts, "form": layer.form, "ranks": layer.ranks, "weight_error": layer.weight_error}


def _make_chain(layers: list[Any], form: str, ranks: list[int], weight_error: float) -> nn.Module:
    parts = [_made(kind, described) for kind, described in layers]
    return Factored(*parts, form=form, ranks=tuple(ranks), weight_error=weight_error)


KINDS: Mapping[str, Kind] = {
    "Linear": Kind(_linear, nn.Linear),
    "Conv2d": Kind(_conv, nn.Conv2d),
    "BatchNorm1d": Kind(_norm, nn.BatchNorm1d),
    "BatchNorm2d": Kind(_norm, nn.BatchNorm2d),
    "ReLU": Kind(lambda layer: {"inplace": layer.inplace}, nn.ReLU),
    "PairedMaxPool2d": Kind(lambda layer: {}, PairedMaxPool2d),
    "Factored": Kind(_chain, _make_chain),
    "SparseLinear": Kind(_linear, SparseLinear),
    "SparseConv2d": Kind(_conv, SparseConv2d),
    "WinogradConv2d": Kind(lambda layer: _conv(layer, "tile"), WinogradConv2d),
    "Int8Linear": Kind(_linear, Int8Linear),
    "Int8Conv2d": Kind(_conv, Int8Conv2d),
    "Int4Linear": Kind(lambda layer: _linear(layer, "group"), Int4Linear),
    "HalfLinear": Kind(lambda layer: _linear(layer, "storage"), HalfLinear),
    "CodebookLinear": Kind(lambda layer: _linear(layer, "group", "bits"), CodebookLinear),
}
_CLASSES = {kind: getattr(nn, kind, None) or kinds.build for kind, kinds in KINDS.items()} | {
    "Factored": Factored
}


def describe(model: nn.Module) -> Described:
    """The layers of a network with the sizes that they have, and its memory format.

    Of one that `optimize` converted, of what it was: the plan travels with the weights.
    """
    if getattr(model, PLAN_ATTRIBUTE, None) is not None:
        model = restore(model)
    layers: list[Any] = []
    chains: list[str] = []
    for name, module in model.named_modules():
        kind = type(module).__name__
        inside = any(name.startswith(f"{chain}." if chain else "") for chain in chains)
        if inside or type(module) is not _CLASSES.get(kind):
            continue
        if kind == "Factored":
            chains.append(name)
        layers.append([name, kind, KINDS[kind].describe(module)])
    return {"layers": layers, "channels_last": _is_channels_last(model)}


def require_known(model: nn.Module) -> nn.Module:
    """The network. Raises ValueError for a layer of this package that a description does not speak of."""
    for name, module in model.named_modules():
        kind = type(module)
        if kind.__module__.startswith("greenkernels.nn.") and kind.__name__ not in KINDS:
            raise ValueError(f"{name}: a recipe cannot keep a {kind.__name__} yet")
    return model


def rebuild(model: nn.Module, described: Described) -> nn.Module:
    """The network of the factory, in place, with the layers of the description; weights are filled in later.

    Layers that are the same are left: they may share their weights with others.
    """
    same = {json.dumps(layer) for layer in describe(model)["layers"]}
    for name, kind, arguments in described["layers"]:
        if json.dumps([name, kind, arguments]) in same:
            continue
        if not name:
            model = _made(kind, arguments)
            continue
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, _made(kind, arguments))
    layout = torch.channels_last if described["channels_last"] else torch.contiguous_format
    return model.to(memory_format=layout).eval()


def _made(kind: str, arguments: Described) -> nn.Module:
    return KINDS[kind].build(
        **{n: tuple(v) if isinstance(v, list) and n != "layers" else v for n, v in arguments.items()}
    )


def _is_channels_last(model: nn.Module) -> bool:
    return any(
        p.dim() == 4 and not p.is_contiguous() and p.is_contiguous(memory_format=torch.channels_last)
        for p in model.parameters()
    )
