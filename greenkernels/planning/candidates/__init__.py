"""What may stand in for a stock layer: one file a stem in this folder, found by itself.

A file defines ``STEM = Stem(...)``. The rest of planning knows no kernel by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Size, nn

from ...energy import Counts, count

Options = dict[str, Any]  # keyword arguments of from_module; must go through JSON

# Kinds of activations that the kernels fuse with at most a constant: prelu learns, and stays a module.
KINDS = frozenset(
    ("relu", "relu6", "leaky_relu", "silu", "gelu", "sigmoid", "tanh", "hardswish", "hardsigmoid")
)


# Of stems with CUDA kernels behind their modules.
CPU_AND_CUDA = frozenset({"cpu", "cuda"})


@dataclass(frozen=True)
class FusedActivation:
    """An activation that directly follows a layer and may run inside of its kernel.

    Attributes:
        slot: qualified name of the activation module.
        kind: as the ops call it ("relu", "leaky_relu", ...).
        param: the slope of leaky_relu, else None.
    """

    slot: str
    kind: str
    param: float | None = None


@dataclass(frozen=True)
class Chain:
    """What follows a layer, in this order, and may run inside of its kernel.

    Attributes:
        norm: qualified name of the batch norm; None for none.
        adds: whether another map of the same shape is added.
        activation: the last of it; None for none. Without a slot where it is a function, or shared.
        container: qualified name of the module whose forward is rewritten for it; None where an nn.Sequential calls all
            of it, so that modules that pass their input on stand in the slots.
        arity: number of tensors that the container is called with.
    """

    norm: str | None = None
    adds: bool = False
    activation: FusedActivation | None = None
    container: str | None = None
    arity: int = 0

    def __str__(self) -> str:
        words = ["norm"] * (self.norm is not None) + ["add"] * self.adds
        return " + ".join(words + ([self.activation.kind] if self.activation else []))


@dataclass(frozen=True)
class Block:
    """Layers that run in one call, see `planning.graph.blocks`.

    Attributes:
        layers: qualified names of a 1x1 convolution (or without it), a depthwise one, and a 1x1 one.
        chains: what follows each of them; all in one container, whose forward is rewritten.
    """

    layers: tuple[str, ...]
    chains: tuple[Chain, ...]


def refusal(kind: Any, stock: nn.Module, **options: Any) -> str | None:
    """Why ``kind``, a class with ``from_module``, cannot stand in for ``stock``, in a line; None where it can."""
    try:
        kind.from_module(stock, **options)
    except (ValueError, TypeError) as error:
        return str(error).splitlines()[0].removeprefix(f"{kind.__name__}: ")
    return None


def stand_in(kind: Any, stock: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    """The module of class ``kind`` in place of ``stock``, with the activation fused."""
    if activation is None:
        return kind.from_module(stock, **options)
    return kind.from_module(stock, **options, activation=activation.kind, activation_param=activation.param)


def own_counts(module: nn.Module, shapes: Sequence[Size]) -> Counts | None:
    """Work of calls on inputs of these shapes, by the module's own ``counts`` or the rule for its class."""
    total: Counts | None = None
    for shape in shapes:
        counts = count(module, shape).counts
        if counts is None:
            return None
        total = counts if total is None else total + counts
    return total


def no_scratch(module: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    return 0


@dataclass(frozen=True)
class Stem:
    """One registration.

    Attributes:
        name: stem of the kernel.
        replaces: the stock class; subclasses of it are never replaced, they may mean something else.
        lossy: True if it changes results by more than rounding; only taken where asked for.
        precision: the ``precision`` of `gk.plan` that asks for it, beside its name.
        activations: kinds that it can fuse.
        refuses: why it cannot stand in for this module, or None.
        options: what to try on this module.
        build: makes the module from the stock one, the options and the activation to fuse.
        extra_bytes: memory that the module needs on top of the stock one (packed weights).
        cold_start: without measuring, from the module and the shapes of its inputs: the options to take, or why the
            stock layer stays.
        counts: work of the module that was built, on inputs of these shapes; None where it cannot be counted.
        scratch_bytes: upper bound of what a call holds beside its output, from the stock module; all layers share it.
        follows: whether its module has ``follow``, see `greenkernels.nn.DirectConv2d`: it folds a batch norm, adds a
            map, and can leave what it fuses to calls that ask for it.
        links: whether its module with these options takes ``input_range`` and ``output_range`` too, see
            `greenkernels.nn.Int8Linear`, so that two that follow each other can keep 8-bit integers between them.
        for_chains: whether it is worth trying only where something follows the layer.
        devices: kinds of devices that it has kernels for.
        before: stems of the layers before it in a block, a 1x1 convolution and a depthwise one, where it stands in for
            the last layer of blocks alone; its module has ``join``, see `greenkernels.nn.separable_end`.
    """

    name: str
    replaces: type[nn.Module]
    lossy: bool
    activations: frozenset[str]
    refuses: Callable[[nn.Module], str | None]
    options: Callable[[nn.Module], Sequence[Options]]
    build: Callable[[nn.Module, Options, FusedActivation | None], nn.Module]
    extra_bytes: Callable[[nn.Module, Options], int]
    cold_start: Callable[[nn.Module, Sequence[Size]], Options | str]
    counts: Callable[[nn.Module, Sequence[Size]], Counts | None] = own_counts
    scratch_bytes: Callable[[nn.Module, Options, Sequence[Size]], int] = no_scratch
    precision: str = "float32"
    follows: bool = False
    links: Callable[[Options], bool] = lambda options: False
    for_chains: bool = False
    devices: frozenset[str] = frozenset({"cpu"})
    before: tuple[str, ...] = ()


@cache
def registered() -> tuple[Stem, ...]:
    """Every stem with a file in this folder, by name, those for chains last."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    stems = [importlib.import_module(f".{name}", __name__).STEM for name in names]
    return tuple(sorted(stems, key=lambda stem: stem.for_chains))  # rules ask these last


def named(name: str) -> Stem:
    """Raises ValueError where no stem has that name (a plan made by another version)."""
    for stem in registered():
        if stem.name == name:
            return stem
    raise ValueError(f"kernel must be one of {', '.join(s.name for s in registered())}, got {name!r}")
