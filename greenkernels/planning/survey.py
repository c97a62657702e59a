"""Looks a network over: every layer that some kernel might replace, with its real inputs, or why it stays as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.nn.utils import parametrize

from ..measure.clock import Clock
from ..measure.rotation import clone
from .candidates import Block, Chain, Stem, registered
from .carried import clash, foreign_state, own_attributes
from .fusion import find_fusions, has_hooks
from .graph.blocks import find_blocks
from .graph.finding import find_chains
from .graph.links import find_links
from .watch import watched
from .work import NetworkWork

# Classes that stand in every plan, with or without a kernel: the reader sees why they stay.
LISTED = (nn.Conv2d, nn.Linear)

Call = Callable[[nn.Module], Any]  # runs the network once on the example inputs


@dataclass
class Site:
    """One layer of the network.

    Attributes:
        names: every qualified name that it has; the first one stands in tables.
        module: the stock layer, in the planner's own copy of the network.
        inputs: one tensor for each call in a forward of the network; layers alike share one set.
        output_shapes: of each call.
        calls: number of calls in a forward.
        seconds: what all of them took in that one forward, first-call effects included.
        stems: what may replace it; empty where `reason` says why it stays.
        chain: what may be fused into it, or None.
        block: the block that it is the last layer of, or None.
        no_block: of a depthwise convolution, why it is in none, or "".
        reader: first name of the layer that alone reads what it and its whole chain give; "" for none.
        reason: why it stays, or "".
    """

    names: tuple[str, ...]
    module: nn.Module
    inputs: list[Tensor] = field(default_factory=list)
    output_shapes: list[Size] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0
    stems: list[Stem] = field(default_factory=list)
    chain: Chain | None = None
    block: Block | None = None
    no_block: str = ""
    reader: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def contenders(self) -> int:
        """Number of those who take turns: stock in two formats, one of them twice, and each kernel in both."""
        return 3 + 2 * sum(len(stem.options(self.module)) for stem in self.stems)

    @property
    def shapes(self) -> list[Size]:
        return [x.shape for x in self.inputs]

    def signature(self) -> tuple[object, ...]:
        """Layers with equal signatures take equal time: class, sizes, inputs and what is fused; not the values."""
        return (*_layer_key(self.module), tuple(_tensor_key(x) for x in self.inputs), self._fused())

    def _fused(self) -> tuple[object, ...] | None:
        if self.chain is None:
            return None
        act = self.chain.activation
        kind = None if act is None else (act.kind, act.param, bool(act.slot))
        return self.chain.norm is not None, self.chain.adds, self.chain.container is not None, kind


def _layer_key(module: nn.Module) -> tuple[object, ...]:
    weights = tuple(_tensor_key(p) for p in module.parameters(recurse=False))
    return type(module).__name__, repr(module), weights


def _tensor_key(tensor: Tensor) -> tuple[object, ...]:
    return tuple(tensor.shape), tensor.stride(), str(tensor.dtype), tensor.device.type


@dataclass
class _Seen:
    """What was seen of one forward of the network."""

    wanted: tuple[type[nn.Module], ...]
    clock: Clock
    calls: dict[nn.Module, int] = field(default_factory=dict)
    inputs: dict[nn.Module, list[Tensor]] = field(default_factory=dict)
    outputs: dict[nn.Module, list[Size]] = field(default_factory=dict)
    unusual: dict[nn.Module, str] = field(default_factory=dict)
    begin: dict[nn.Module, float] = field(default_factory=dict)
    seconds: dict[nn.Module, float] = field(default_factory=dict)
    kept: dict[tuple[object, ...], Tensor] = field(
        default_factory=dict
    )  # one clone for all layers and inputs alike
    arities: dict[nn.Module, int | None] = field(default_factory=dict)  # None: not tensors alone
    work: NetworkWork = field(default_factory=NetworkWork)

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.calls[module] = self.calls.get(module, 0) + 1
        self.work.enter(module, args, kwargs)
        plain = not kwargs and all(isinstance(arg, Tensor) for arg in args)
        arity = len(args) if plain else None
        self.arities[module] = arity if self.arities.get(module, arity) == arity else None
        if not isinstance(module, self.wanted):
            return
        if kwargs or len(args) != 1 or not isinstance(args[0], Tensor):
            self.unusual[module] = "is called with more than one tensor"
            return
        key = (*_layer_key(module), _tensor_key(args[0]))
        if key not in self.kept:
            self.kept[key] = clone(args[0])
        self.inputs.setdefault(module, []).append(self.kept[key])
        self.begin[module] = self.clock.now()

    def leave(self, module: nn.Module, _args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any) -> None:
        if not isinstance(module, self.wanted):
            return
        spent = self.clock.now() - self.begin.get(module, self.clock.now())
        self.seconds[module] = self.seconds.get(module, 0.0) + spent
        if isinstance(output, Tensor):
            self.outputs.setdefault(module, []).append(output.shape)


def survey(
    model: nn.Module, run: Call, stems: list[Stem], clock: Clock | None = None
) -> tuple[list[Site], NetworkWork]:
    """All sites of `model` (a copy), in the order of registration; and the work of the whole."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    wanted = tuple({*LISTED, *(stem.replaces for stem in stems)})
    sites = [Site(tuple(names[m]), m) for m in names if isinstance(m, wanted)]
    seen = _Seen(wanted, clock or Clock())
    with watched(model.modules(), seen.enter, seen.leave), torch.inference_mode():
        run(model)
    chains = find_chains(model, seen.calls, seen.arities, run) if any(s.follows for s in stems) else {}
    chains |= find_fusions(model, seen.calls)
    links = (
        find_links(model, seen.calls, seen.arities, chains, run) if any(s.links({}) for s in stems) else {}
    )
    for site in sites:
        site.calls = seen.calls.get(site.module, 0)
        site.inputs = seen.inputs.get(site.module, [])
        site.output_shapes = seen.outputs.get(site.module, [])
        site.seconds = seen.seconds.get(site.module, 0.0)
        site.reason = _why_no_kernel(site.module, stems) or _why_not(site, seen)
        if not site.reason:
            site.stems, site.reason = _matching(site.module, stems)
        if site.stems:
            site.chain = chains.get(site.module)
            site.reader = names[links[site.module]][0] if site.module in links else ""
            long = site.chain is not None and (site.chain.norm or site.chain.adds)
            site.stems = [stem for stem in site.stems if long or not stem.for_chains]
    _put_blocks(model, run, sites, seen, stems)
    return sites, seen.work


def _put_blocks(model: nn.Module, run: Call, sites: list[Site], seen: _Seen, stems: list[Stem]) -> None:
    """Tell sites the blocks that they end, where a stem computes blocks."""
    of_blocks = [stem for stem in stems if stem.before]
    if not of_blocks:
        return
    by_module = {site.module: site for site in sites}

    @functools.cache  # it builds the layer
    def refusal(layer: nn.Module) -> str:
        reason = by_module[layer].reason or of_blocks[0].refuses(layer) or ""
        elsewhere = not {p.device.type for p in layer.parameters()} <= of_blocks[0].devices
        return reason or ("no kernel for blocks runs where it is" if elsewhere else "")

    found = find_blocks(model, seen.calls, seen.arities, run, refusal)
    for site in sites:
        site.block, site.no_block = found.ends.get(site.module), found.reasons.get(site.module, "")


def _why_no_kernel(module: nn.Module, stems: list[Stem]) -> str:
    """Why nothing of this class can be replaced; "" if some can."""
    if any(isinstance(module, stem.replaces) for stem in stems):
        return ""
    kind = next((c for c in LISTED if isinstance(module, c)), type(module))
    if any(stem.replaces is kind for stem in registered()):
        return f"precision leaves out the kernels for nn.{kind.__name__}"
    return f"no kernel of this package stands in for nn.{kind.__name__} yet"


def _why_not(site: Site, seen: _Seen) -> str:
    """Reasons that hold for any kernel; "" if there is none."""
    module, kind = site.module, type(site.module)
    if parametrize.is_parametrized(module):
        return f"{', '.join(module.parametrizations)} is parametrized"
    if kind.__module__.startswith("greenkernels."):
        return f"is a {kind.__name__} already"
    if any(name not in module._parameters for name in ("weight", "bias")):
        return "its weight is computed in a hook (pruned or weight-normed)"
    if has_hooks(module):
        return "has hooks, or a forward of its own, that a replacement would lose"
    if lost := foreign_state(module):
        return f"has {lost} of its own, which a replacement would lose"
    if site.calls == 0:
        return "its forward is never called on the example inputs"
    if module in seen.unusual:
        return seen.unusual[module]
    return ""


def _matching(module: nn.Module, stems: list[Stem]) -> tuple[list[Stem], str]:
    """Stems that take this module, or why none does."""
    kind, devices = type(module), {p.device.type for p in module.parameters()}
    exact = [stem for stem in stems if kind is stem.replaces and not stem.before]
    if not exact:
        return [], f"{kind.__name__} is a subclass, which may mean something else"
    exact = [stem for stem in exact if devices <= stem.devices]
    if not exact:
        return [], f"no kernel for nn.{kind.__name__} runs on {' and '.join(sorted(devices))}"
    refusals = {stem.name: stem.refuses(module) for stem in exact}
    if own_attributes(module):
        for stem in exact:
            if refusals[stem.name] is None:
                name = clash(module, stem.build(module, stem.options(module)[0], None))
                refusals[stem.name] = (
                    f"has an attribute {name!r} of its own, a name that {stem.name} uses" if name else None
                )
    taken = [stem for stem in exact if refusals[stem.name] is None]
    reason = "" if taken else "; ".join(dict.fromkeys(str(r) for r in refusals.values()))
    return taken, reason
