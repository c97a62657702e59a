"""Looks a network over: every layer that some kernel might replace, with its real inputs, or why it stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..measure.rotation import clone
from .candidates import FusedActivation, Stem
from .fusion import find_fusions, has_hooks

Call = Callable[[nn.Module], Any]  # runs the network once on the example inputs


@dataclass
class Site:
    """One layer of the network.

    Attributes:
        names: every qualified name that it has; the first one stands in tables.
        module: the stock layer, in the planner's own copy of the network.
        inputs: one tensor for each call in a forward of the network; layers alike share one set.
        calls: number of calls in a forward.
        stems: what may replace it; empty where `reason` says why it stays.
        activation: what may be fused into it, or None.
        reason: why it stays, or "".
    """

    names: tuple[str, ...]
    module: nn.Module
    inputs: list[Tensor] = field(default_factory=list)
    calls: int = 0
    stems: list[Stem] = field(default_factory=list)
    activation: FusedActivation | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        return self.names[0]

    def signature(self) -> tuple[object, ...]:
        """Layers with equal signatures take equal time: class, sizes, inputs and what is fused; not the values."""
        fused = (self.activation.kind, self.activation.param) if self.activation else None
        return (*_layer_key(self.module), tuple(_tensor_key(x) for x in self.inputs), fused)


def _layer_key(module: nn.Module) -> tuple[object, ...]:
    weights = tuple(_tensor_key(p) for p in module.parameters(recurse=False))
    return type(module).__name__, repr(module), weights


def _tensor_key(tensor: Tensor) -> tuple[object, ...]:
    return tuple(tensor.shape), tensor.stride(), str(tensor.dtype)


@dataclass
class _Seen:
    """What hooks saw of one forward of the network."""

    calls: dict[nn.Module, int] = field(default_factory=dict)
    inputs: dict[nn.Module, list[Tensor]] = field(default_factory=dict)
    unusual: dict[nn.Module, str] = field(default_factory=dict)
    kept: dict[tuple[object, ...], Tensor] = field(
        default_factory=dict
    )  # one clone for all layers and inputs alike


def survey(model: nn.Module, run: Call, stems: list[Stem]) -> list[Site]:
    """All sites of `model` (a copy that may be hooked), in the order of registration."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    wanted = tuple({stem.replaces for stem in stems})
    sites = [Site(tuple(names[m]), m) for m in names if isinstance(m, wanted)]
    hooked = {site.name: has_hooks(site.module) for site in sites}  # before our own hooks
    seen = _run_with_hooks(model, run, wanted)
    fusions = find_fusions(model, seen.calls)
    for site in sites:
        site.calls = seen.calls.get(site.module, 0)
        site.inputs = seen.inputs.get(site.module, [])
        site.reason = _why_not(site, hooked[site.name], seen)
        if not site.reason:
            site.stems, site.reason = _matching(site.module, stems)
        if site.stems:
            site.activation = fusions.get(site.name)
    return sites


def _run_with_hooks(model: nn.Module, run: Call, wanted: tuple[type[nn.Module], ...]) -> _Seen:
    seen = _Seen()

    def count(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.calls[module] = seen.calls.get(module, 0) + 1
        if not isinstance(module, wanted):
            return
        if kwargs or len(args) != 1 or not isinstance(args[0], Tensor):
            seen.unusual[module] = "is called with more than one tensor"
            return
        key = (*_layer_key(module), _tensor_key(args[0]))
        if key not in seen.kept:
            seen.kept[key] = clone(args[0])
        seen.inputs.setdefault(module, []).append(seen.kept[key])

    handles = [m.register_forward_pre_hook(count, with_kwargs=True) for m in model.modules()]
    try:
        with torch.inference_mode():
            run(model)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _why_not(site: Site, hooked: bool, seen: _Seen) -> str:
    """Reasons that hold for any kernel; "" if there is none."""
    module, kind = site.module, type(site.module)
    if parametrize.is_parametrized(module):
        return f"{', '.join(module.parametrizations)} is parametrized"
    if kind.__module__.startswith("greenkernels."):
        return f"is a {kind.__name__} already"
    if any(name not in module._parameters for name in ("weight", "bias")):
        return "its weight is computed in a hook (pruned or weight-normed)"
    if hooked:
        return "has hooks, or a forward of its own, that a replacement would lose"
    if site.calls == 0:
        return "its forward is never called on the example inputs"
    if module in seen.unusual:
        return seen.unusual[module]
    if any(p.device.type != "cpu" for p in module.parameters()):
        return f"is on {next(module.parameters()).device}; only CPU kernels are planned"
    return ""


def _matching(module: nn.Module, stems: list[Stem]) -> tuple[list[Stem], str]:
    """Stems that take this module, or why none does."""
    exact = [stem for stem in stems if type(module) is stem.replaces]
    if not exact:
        return [], f"{type(module).__name__} is a subclass, which may mean something else"
    refusals = {stem.name: stem.refuses(module) for stem in exact}
    taken = [stem for stem in exact if refusals[stem.name] is None]
    reason = "" if taken else "; ".join(dict.fromkeys(str(r) for r in refusals.values()))
    return taken, reason
