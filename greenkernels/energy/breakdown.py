"""The analytic energy table of a network: compute, memory and communication, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ..measure.provenance import Measurement
from ..report.tables import text_table
from .counts import Counted, Counts, tensor_bytes
from .hardware_table import DEFAULT, hardware
from .links import Transfer
from .model import NO_COMMUNICATION, NONE, Joules
from .network import LayerWork, layer_work
from .tally import Tally
from .units import per_wh

_AMOUNTS = (
    "MFLOP",
    "MB read",
    "MB written",
    "compute mJ",
    "memory mJ",
    "communication mJ",
    "total mJ",
    "share",
)
_HEADERS = ("layer", "module", *_AMOUNTS)
_RIGHT = tuple(range(2, len(_HEADERS)))  # columns of numbers


@dataclass(frozen=True)
class LayerEnergy:
    """One layer.

    Attributes:
        name, kind: qualified name ("" for the network itself) and class.
        tally: its work.
        joules: modelled energy of what was counted; None where nothing was.
        missing: what was not counted and why; empty where all was.
        storage_bytes: bytes at each level of storage, registers to DRAM.
    """

    name: str
    kind: str
    tally: Tally
    joules: Joules | None
    missing: tuple[str, ...]
    storage_bytes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Estimate:
    """What `estimate` found. ``print(estimate)`` shows a table.

    Attributes:
        layers: in the order of their first call.
        hardware: name of the table.
        weight_bytes: of all weights of the network, which decide whether a cache keeps them from call to call.
    """

    layers: tuple[LayerEnergy, ...]
    hardware: str
    weight_bytes: int = 0

    @property
    def missing(self) -> list[str]:
        """What was not counted, with the layer."""
        return [
            f"{layer.name or '(the model)'}: {reason}" for layer in self.layers for reason in layer.missing
        ]

    @property
    def counted(self) -> Joules | None:
        """Energy of everything that was counted, None where nothing was."""
        parts = [layer.joules for layer in self.layers if layer.joules is not None]
        return sum(parts, NONE) if parts else None

    @property
    def energy_j(self) -> Measurement | None:
        """Energy of one call, of kind modelled; None where a part of it could not be counted."""
        return None if self.missing or self.counted is None else self.counted.total

    @property
    def per_wh(self) -> Measurement | None:
        """Calls that a watt-hour of battery pays for; None where the energy is unknown or nothing."""
        return per_wh(self.energy_j) if self.energy_j is not None and self.energy_j.low > 0 else None

    def plot(self, folder: Path | str) -> list[Path]:
        """Write ``energies.svg`` and ``energies.png``: a bar a layer of compute, memory and communication.

        Raises:
            ImportError: matplotlib is missing; the message says how to get it.
            ValueError: nothing was counted.
        """
        from ..report.plots import EnergyBar, energy_bars

        bars = [
            EnergyBar(layer.name or "(the model)", *_parts(layer.joules))
            for layer in self.layers
            if layer.joules is not None and not _is_nothing(layer)
        ]
        return energy_bars(bars, title=f"Modelled energy of each layer: {self.hardware}").save(Path(folder))

    def tally(self) -> Tally:
        """The work of one call."""
        whole = Tally()
        for layer in self.layers:
            whole.merge(layer.tally)
        return whole

    def to_json(self) -> dict[str, Any]:
        """Everything in plain types; numbers that are not known are None."""
        counted = self.counted
        return {
            "hardware": self.hardware,
            "energy_j": self.energy_j.to_json() if self.energy_j else None,
            "counted": counted.to_json() if counted else None,
            "communication": [sent._asdict() for sent in self._transfers()] or NO_COMMUNICATION,
            "missing": self.missing,
            "layers": [_layer_json(layer) for layer in self.layers],
        }

    def __str__(self) -> str:
        whole = self.counted
        shown = [layer for layer in self.layers if not _is_nothing(layer)]
        rows = [
            _row(layer.name or "(the model)", layer.kind, layer.tally, layer.joules, whole) for layer in shown
        ]
        rows.append(_row("sum", "", self.tally(), whole, whole))
        return "\n".join([text_table(_HEADERS, rows, right=_RIGHT), "", *self._summary()])

    __repr__ = __str__

    def _transfers(self) -> list[Transfer]:
        return [
            sent for layer in self.layers for counts in layer.tally.work.values() for sent in counts.transfers
        ]

    def _summary(self) -> list[str]:
        sent = self._transfers()
        link = ", ".join(f"{one.bytes / 1e6:.3f} MB over the {one.link} link" for one in sent)
        communication = link or f"0 J ({NO_COMMUNICATION})"
        lines = [f"communication: {communication}; static power: not included, it needs a time"]
        energy = self.energy_j
        if energy is not None:
            spread = f"{energy.low * 1e3:.3g} to {energy.high * 1e3:.3g}"
            lines.append(
                f"energy of one call: {energy.value * 1e3:.3g} mJ ({spread}), modelled for {self.hardware}"
            )
            calls = self.per_wh
            if calls is not None:
                lines.append(f"calls per Wh: {calls.value:.3g} ({calls.low:.3g} to {calls.high:.3g})")
        else:
            lines.append(f"energy of one call: unknown, the sum (modelled for {self.hardware}) leaves out")
            lines += [f"  {reason}" for reason in self.missing or ["everything: nothing was counted"]]
        table = hardware(self.hardware)
        estimates = sum(figure.estimate for figure in table.figures.values())
        lines.append(
            f"{self.hardware}: {table.about}; {estimates} of {len(table.figures)} figures are estimates"
        )
        return lines


def estimate(
    model: nn.Module, inputs: Any, hardware: str = DEFAULT, *, communication: Iterable[Transfer] = ()
) -> Estimate:
    """Runs the network once and models the energy of the call: E = sum of E_i * C_i.

    Layers of torch.nn and of this package are counted as layers, everything between them by torch operation. The
    network is taken to be called again and again: a cache that holds all of its weights still does so at the next call,
    and one that holds the maps of a layer hands them to the next.

    Args:
        model: in eval mode; it is not changed. A compiled one is counted as if it were not.
        inputs: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments.
        hardware: name of a table, see `greenkernels.energy.hardware_names`.
        communication: what a call sends besides, see `greenkernels.energy.transfer` and `all_reduce`; copies between
            devices and collective operations inside of the network are counted by themselves.

    Raises:
        ValueError: training mode, inputs of another type, no such table.
    """
    table, sent = _table(hardware), tuple(communication)
    rows = layer_work(model, inputs)
    if sent:
        rows.append(LayerWork("(communication)", "", Tally()))
        rows[-1].tally.add(Counted(Counts(0, 0, 0, 0, transfers=sent)))
    weights = sum(tensor_bytes(weight) for weight in (*model.parameters(), *model.buffers()))
    layers = []
    for row in rows:
        joules, missing = row.tally.joules(hardware, weights)
        moved = row.tally.storage_bytes(table, weights)
        layers.append(LayerEnergy(row.name, row.kind, row.tally, joules, tuple(missing), moved))
    return Estimate(tuple(layers), hardware, weights)


_table = hardware  # the name is an argument of `estimate`


def _parts(joules: Joules) -> tuple[Measurement, Measurement, Measurement]:
    return joules.compute, joules.memory, joules.communication


def _row(name: str, kind: str, tally: Tally, joules: Joules | None, whole: Joules | None) -> tuple[str, ...]:
    work = tally.total
    amounts = (
        ("-",) * 3
        if work is None
        else (
            f"{work.flops / 1e6:.3f}",
            f"{work.bytes_read / 1e6:.3f}",
            f"{work.bytes_written / 1e6:.3f}",
        )
    )
    if joules is None or whole is None:
        return (name, kind, *amounts, *"-----")
    parts = (*_parts(joules), joules.total)
    share = joules.total / whole.total if whole.total.value else None
    energies = (f"{part.value * 1e3:.4f}" for part in parts)
    return (name, kind, *amounts, *energies, "-" if share is None else f"{share.value:.1%}")


def _is_nothing(layer: LayerEnergy) -> bool:
    """Known to compute and move nothing, as dropout in eval mode: left out of tables."""
    work = layer.tally.total
    sent = any(counts.transfers for counts in layer.tally.work.values())
    return work is not None and not layer.missing and not sent and work.flops == work.bytes == 0


def _layer_json(layer: LayerEnergy) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "calls": layer.tally.calls,
        "work": [asdict(counts) for counts in layer.tally.work.values()],
        "storage_bytes": layer.storage_bytes,
        "joules": layer.joules.to_json() if layer.joules else None,
        "missing": list(layer.missing),
    }
