"""A plan: what becomes of each layer and why, what it brought, and how to keep it in a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ..measure.provenance import Measurement
from ..report.tables import error, milliseconds, ratio, text_table
from .candidates import FusedActivation, Options
from .layout import AS_GIVEN

SCHEMA = 1  # raised when a field changes its meaning


@dataclass
class LayerPlan:
    """What becomes of one layer.

    Attributes:
        names: every name the layer has in the network.
        sizes: the stock layer in words; a plan is refused for a network whose layer differs.
        stem, options: the kernel that replaces it; stem is None where the stock layer stays.
        activation: fused into it, or None.
        before: time of the stock layer as the network runs today; None if not measured.
        after: time of the replacement in the plan's memory format.
        error: relative difference of its output to the stock layer's, on its real inputs.
        reason: why it stays, or what else there is to say.
    """

    names: tuple[str, ...]
    sizes: str
    stem: str | None = None
    options: Options = field(default_factory=dict)
    activation: FusedActivation | None = None
    before: Measurement | None = None
    after: Measurement | None = None
    error: float | None = None
    reason: str = ""

    @property
    def kernel(self) -> str:
        """The kernel with its options, as tables show it."""
        if self.stem is None:
            return "stock"
        parts = [self.stem, *(f"{k}={v}" for k, v in self.options.items())]
        return " ".join(parts + ([f"+ {self.activation.kind}"] if self.activation else []))


@dataclass
class NetworkVerdict:
    """The whole network, stock and converted, timed in turns after the layers were chosen.

    Attributes:
        stock: time as given; stock_channels_last: the same network in the other format, None if that makes no sense.
        converted: time of the converted network; None if not measured.
        speedup: best stock time over converted time, paired by rounds, with its interval.
        error: ||y - y_ref|| / ||y_ref|| over the checked inputs.
        foreign_cores: load by other processes meanwhile.
    """

    stock: Measurement | None = None
    stock_channels_last: Measurement | None = None
    converted: Measurement | None = None
    speedup: Measurement | None = None
    error: float | None = None
    noise: float = 0.0
    foreign_cores: float | None = None


@dataclass(repr=False)
class Plan:
    """What `gk.plan` found out. ``print(plan)`` shows a table.

    Attributes:
        layers: one entry for each layer that a kernel of its class exists for.
        accepted: False if the stock network stays; `reason` says why.
        memory_format: what the converted network runs in.
        objective, max_error, measured, threads: what was asked for, and with how many threads it was measured.
        network: the verdict on the whole.
        about: machine, versions and date.
    """

    layers: list[LayerPlan]
    accepted: bool
    reason: str
    memory_format: str = AS_GIVEN
    objective: str = "latency"
    max_error: float = 1e-5
    measured: bool = True
    threads: int = 0
    network: NetworkVerdict = field(default_factory=NetworkVerdict)
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def replaced(self) -> list[LayerPlan]:
        """The layers that `apply` replaces."""
        return [layer for layer in self.layers if layer.stem is not None] if self.accepted else []

    def apply(self, model: nn.Module, inplace: bool = False) -> nn.Module:
        """A converted copy of `model` (or `model` itself, converted, with ``inplace=True``).

        Raises:
            ValueError: the model is in training mode, or a layer is not the one that was planned for.
        """
        from .convert import apply_plan

        return apply_plan(self, model, inplace)

    def __str__(self) -> str:
        headers = ("layer", "kernel", "ms before", "ms after", "error", "note")
        rows = []
        for layer in self.layers:
            name, kernel, note = layer.names[0] or "(the model)", layer.kernel, layer.reason
            if layer.stem is not None and not self.accepted:
                kernel, note = "stock", f"{kernel} won here, but not in the whole network"
            times = (milliseconds(layer.before), milliseconds(layer.after))
            rows.append((name, kernel, *times, error(layer.error), note))
        return "\n".join([text_table(headers, rows, right=(2, 3, 4)), "", *self._summary()])

    __repr__ = __str__

    def _summary(self) -> list[str]:
        lines, network = [self.reason], self.network
        if network.stock is not None:
            stock = f"stock {milliseconds(network.stock, spread=True)} ms"
            if network.stock_channels_last is not None:
                stock += f", in channels_last {milliseconds(network.stock_channels_last, spread=True)} ms"
            lines.append(f"network: {stock}; converted {milliseconds(network.converted, spread=True)} ms")
        if network.speedup is not None:
            lines.append(
                f"speed-up {ratio(network.speedup, spread=True)} (95 % interval), A/A noise {network.noise:.1%}"
            )
        if network.error is not None:
            lines.append(
                f"relative difference of outputs {error(network.error)}, allowed {error(self.max_error)}"
            )
        lines.append(f"{self.threads} thread(s), memory format {self.memory_format}")
        return lines

    def save(self, path: str | Path) -> Path:
        """Write the plan as JSON (to a temporary name first)."""
        path = Path(path)
        half = path.with_name(f".{path.name}.tmp")
        half.write_text(json.dumps({"schema": SCHEMA, "plan": _to_json(self)}, indent=1) + "\n")
        half.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read what `save` wrote. Raises ValueError for anything else."""
        try:
            data = json.loads(Path(path).read_text())
            schema = data["schema"]
        except (json.JSONDecodeError, KeyError, TypeError) as problem:
            raise ValueError(f"{path}: is no plan ({problem})") from problem
        if schema != SCHEMA:
            raise ValueError(f"{path}: schema must be {SCHEMA}, got {schema}")
        plan = data["plan"]
        plan["layers"] = [_layer_from_json(layer) for layer in plan["layers"]]
        plan["network"] = NetworkVerdict(**_revived(plan["network"]))
        return cls(**plan)


def _to_json(value: Any) -> Any:
    if isinstance(value, Measurement):
        return value.to_json()
    if hasattr(value, "__dataclass_fields__"):
        return {name: _to_json(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    return value


def _revived(data: dict[str, Any]) -> dict[str, Any]:
    """Measurements again where JSON holds their fields."""
    return {
        k: Measurement.from_json(v) if isinstance(v, dict) and "kind" in v and "unit" in v else v
        for k, v in data.items()
    }


def _layer_from_json(data: dict[str, Any]) -> LayerPlan:
    data = _revived(data)
    data["names"] = tuple(data["names"])
    if data["activation"] is not None:
        data["activation"] = FusedActivation(**data["activation"])
    return LayerPlan(**data)
