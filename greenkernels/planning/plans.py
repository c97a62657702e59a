"""A plan: what becomes of each layer and why, what it brought, and how to keep it in a file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ..measure.provenance import Measurement
from ..measure.turns import NOISY
from .as_json import revived, to_json
from .candidates import Chain, FusedActivation, Options
from .layout import AS_GIVEN

SCHEMA = 4  # raised when a field changes its meaning
READABLE = (1, 2, 3, SCHEMA)  # 1 had neither joules nor memory, 2 an activation for the chain, 3 no blocks


@dataclass
class LayerPlan:
    """What becomes of one layer.

    Attributes:
        names: every name the layer has in the network.
        sizes: the stock layer in words; a plan is refused for a network whose layer differs.
        stem, options: the kernel that replaces it; stem is None where the stock layer stays.
        chain: what of the modules behind it is fused into it, or None.
        block: names of the layers, this one among them, that the last of them computes in one call; () for none.
        before: time of the stock layer as the network runs today; None if not measured.
        after: time of the replacement in the plan's memory format.
        energy_before, energy_after: J of both, modelled from counts and these times, or attributed: the share of a
            measured whole; None where not counted.
        error: relative difference of its output to the stock layer's, on its real inputs.
        extra_bytes: packed weights that the replacement keeps beside the stock one.
        scratch_bytes: upper bound of what a call of it holds meanwhile; layers share that memory.
        reason: why it stays, or what else there is to say.
    """

    names: tuple[str, ...]
    sizes: str
    stem: str | None = None
    options: Options = field(default_factory=dict)
    chain: Chain | None = None
    block: tuple[str, ...] = ()
    before: Measurement | None = None
    after: Measurement | None = None
    energy_before: Measurement | None = None
    energy_after: Measurement | None = None
    error: float | None = None
    extra_bytes: int = 0
    scratch_bytes: int = 0
    reason: str = ""

    @property
    def kernel(self) -> str:
        """The kernel with its options, as tables show it."""
        if self.stem is None:
            return "stock"
        parts = [self.stem, *(f"{k}={_shown(v)}" for k, v in self.options.items())]
        return " ".join(parts + ([f"+ {self.chain}"] if self.chain else []))

    @property
    def activation(self) -> FusedActivation | None:
        """What is fused last, or None."""
        return None if self.chain is None else self.chain.activation

    @property
    def within_block(self) -> bool:
        """Whether another layer computes it."""
        return self.block != () and self.block[-1] != self.names[0]

    def keep_stock(self, reason: str) -> None:
        """Take the replacement back."""
        self.stem, self.options, self.chain, self.after, self.energy_after = None, {}, None, None, None
        self.block = ()
        self.extra_bytes = self.scratch_bytes = 0
        self.reason = reason


def _shown(option: Any) -> str:
    """An option in short."""
    if isinstance(option, (list, tuple)):
        return "..".join(map(_shown, option))
    return f"{option:.3g}" if isinstance(option, float) else str(option)


@dataclass
class NetworkVerdict:
    """The whole network, stock and converted, timed in turns after the layers were chosen.

    Attributes:
        stock: time as given; stock_channels_last: the same network in the other format, None if that makes no sense.
        converted: time of the converted network; None if not measured.
        speedup: best stock time over converted time, paired by rounds, with its interval.
        energy_before, energy_after: J of the stock network in its best format and of the converted one, measured or
            modelled, modelled without the modules in `uncounted`, which are the same in both.
        energy_source: where they come from: "model", or the name of a counter.
        energy_note: why a counter that there is said nothing.
        uncounted: classes of modules that no counting rule covers.
        error: ||y - y_ref|| / ||y_ref||, the largest over the checked inputs.
        drop: how much of the user's metric was lost at the worst, None without a metric.
        foreign_cores: load by other processes meanwhile.
        word: "faster", "slower", "no difference", or why it was never timed.
    """

    stock: Measurement | None = None
    stock_channels_last: Measurement | None = None
    converted: Measurement | None = None
    speedup: Measurement | None = None
    energy_before: Measurement | None = None
    energy_after: Measurement | None = None
    energy_source: str = "model"
    energy_note: str = ""
    uncounted: tuple[str, ...] = ()
    error: float | None = None
    drop: float | None = None
    noise: float = 0.0
    foreign_cores: float | None = None
    word: str = ""

    @property
    def best_stock(self) -> Measurement | None:
        """The time of the stock network in the better format."""
        times = [t for t in (self.stock, self.stock_channels_last) if t is not None]
        return min(times, key=lambda time: time.value, default=None)

    @property
    def undecided(self) -> bool:
        """True where a win may be there that disturbed turns could not prove: worth asking again another time."""
        return self.word == "no difference" and self.speedup is not None and self.speedup.high > 1 + NOISY


@dataclass(repr=False)
class Plan:
    """What `gk.plan` found out. ``print(plan)`` shows a table.

    Attributes:
        layers: one entry for each Conv2d and Linear, and for each layer that a kernel of its class exists for.
        accepted: False if the stock network stays; `reason` says why.
        memory_format: what the converted network runs in.
        objective, max_error, max_drop, measured, threads: what was asked for, and with how many threads.
        strict: whether replaced layers raise instead of falling back to torch.
        network: the verdict on the whole.
        about: machine, versions and date; where numbers are from the cache, their dates: "cached" of the whole plan,
            "cached_network" of the times of the networks, "cached_layers" and "cached_since" of those of layers.
    """

    layers: list[LayerPlan]
    accepted: bool
    reason: str
    memory_format: str = AS_GIVEN
    objective: str = "latency"
    max_error: float = 1e-5
    max_drop: float | None = None
    measured: bool = True
    strict: bool = False
    threads: int = 0
    network: NetworkVerdict = field(default_factory=NetworkVerdict)
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def replaced(self) -> list[LayerPlan]:
        """The layers that `apply` replaces."""
        return [layer for layer in self.layers if layer.stem is not None] if self.accepted else []

    def summary(self) -> dict[str, Any]:
        """The facts in short, for assertions and tables.

        Returns:
            ``layers`` and ``replaced``: numbers of layers. ``won``: the converted network was measured to be faster.
            ``accepted``, ``reason``, ``objective``, ``memory_format``. ``stock_s`` (the best stock time),
            ``converted_s``, ``speedup``, ``stock_j``, ``converted_j`` and their ``joules_kind`` and ``joules_source``,
            ``error``, ``drop``: None where unknown. ``extra_bytes``: packed weights of all replaced layers;
            ``scratch_bytes``: of the largest one. ``cached``: date of the cache entry, or None.
        """
        network = self.network

        def value(quantity: Measurement | None) -> float | None:
            return None if quantity is None else quantity.value

        return {
            "layers": len(self.layers),
            "replaced": len(self.replaced),
            "won": self.accepted and network.word == "faster",
            **{name: getattr(self, name) for name in ("accepted", "reason", "objective", "memory_format")},
            "stock_s": value(network.best_stock),
            "converted_s": value(network.converted),
            "speedup": value(network.speedup),
            "stock_j": value(network.energy_before),
            "converted_j": value(network.energy_after),
            "joules_kind": None if network.energy_after is None else network.energy_after.kind.value,
            "joules_source": None if network.energy_after is None else network.energy_source,
            "error": network.error,
            "drop": network.drop,
            "extra_bytes": sum(layer.extra_bytes for layer in self.replaced),
            "scratch_bytes": max((layer.scratch_bytes for layer in self.replaced), default=0),
            "cached": self.about.get("cached"),
        }

    def apply(self, model: nn.Module, inplace: bool = False) -> nn.Module:
        """A converted copy of `model` (or `model` itself, converted, with ``inplace=True``).

        Raises:
            ValueError: the model is in training mode, or a layer is not the one that was planned for.
        """
        from .convert import apply_plan

        return apply_plan(self, model, inplace)

    def __str__(self) -> str:
        from .plan_text import text

        return text(self)

    __repr__ = __str__

    def save(self, path: str | Path) -> Path:
        """Write the plan as JSON (to a temporary name first)."""
        path = Path(path)
        half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        half.write_text(as_text(self, indent=1) + "\n")
        half.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read what `save` wrote. Raises ValueError for anything else."""
        try:
            text = Path(path).read_text()
        except UnicodeDecodeError as problem:
            raise ValueError(f"{path}: is no plan ({problem})") from problem
        return cls.from_text(text, str(path))

    @classmethod
    def from_text(cls, text: str, path: str) -> Plan:
        """Read what `as_text` gives. Raises ValueError, naming the path, for anything else."""
        try:
            data = json.loads(text)
            schema = data["schema"]
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            raise ValueError(f"{path}: is no plan ({problem})") from problem
        if schema not in READABLE:
            raise ValueError(f"{path}: schema must be {SCHEMA}, got {schema}")
        try:
            return cls.from_json(data["plan"])
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"{path}: is no plan ({problem})") from problem

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """From what JSON makes of the fields."""
        layers = [_layer(layer) for layer in map(revived, data["layers"])]
        network = revived(data["network"])
        network["uncounted"] = tuple(network.get("uncounted", ()))
        return cls(**data | {"layers": layers, "network": NetworkVerdict(**network)})


def as_text(plan: Plan, indent: int | None = None) -> str:
    """The plan as JSON, with the version of its form."""
    return json.dumps({"schema": SCHEMA, "plan": to_json(plan)}, indent=indent)


def _layer(fields: dict[str, Any]) -> LayerPlan:
    fields = fields | {"names": tuple(fields["names"]), "block": tuple(fields.get("block", ()))}
    if "activation" in fields:  # before schema 3
        activation = fields.pop("activation")
        fields["chain"] = None if activation is None else Chain(activation=activation)
    return LayerPlan(**fields)
