"""Joules of training, by step and epoch: a meter for any loop, callbacks for Lightning and the Hugging Face Trainer."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..measure.clock import Clock
from ..measure.provenance import Kind, Measurement
from .hardware_table import DEFAULT
from .meter import EnergyMeter


@dataclass(frozen=True)
class EpochEnergy:
    """One epoch.

    Attributes:
        energy_j: J with its kind; None where it is unknown.
        step_j: J a step: the epoch's share of each, of kind attributed where the epoch was measured.
        steps: of the epoch.
        time_s: of the epoch.
        source: where the joules come from; None where there are none.
        reason: why there are none, or what else there is to say.
    """

    energy_j: Measurement | None
    step_j: Measurement | None
    steps: int
    time_s: Measurement | None
    source: str | None
    reason: str


class TrainingMeter:
    """Meters epochs and shares them out over their steps, which are too short for a counter of energy.

    Example:
        >>> meter = TrainingMeter()
        >>> for epoch in range(epochs):
        ...     with meter:
        ...         for batch in data:
        ...             train(batch)
        ...             meter.step()
        ...     print(meter.epochs[-1].energy_j, meter.epochs[-1].step_j)

    Args:
        hardware, source, clock: as for `EnergyMeter`. The model counts the operations of forward, backward and the
            optimizer that run in this thread, which takes time of its own.

    Attributes:
        epochs: those that have ended.
    """

    def __init__(
        self, hardware: str = DEFAULT, source: str | None = None, clock: Clock | None = None
    ) -> None:
        # A watch, since an epoch may be longer than it takes a processor's counter to begin again.
        self._meter = EnergyMeter(hardware, source=source, clock=clock, watch=True)
        self._steps, self._running = 0, False
        self.epochs: list[EpochEnergy] = []

    def __enter__(self) -> TrainingMeter:
        self._meter.__enter__()
        self._steps, self._running = 0, True
        return self

    def step(self) -> None:
        """Counts a step."""
        self._steps += 1

    def __exit__(self, kind: Any = None, error: Any = None, trace: Any = None) -> None:
        self._running = False
        self._meter.__exit__(kind, error, trace)
        meter, energy = self._meter, self._meter.energy_j
        step = None if energy is None or not self._steps else _share(energy, self._steps)
        self.epochs.append(EpochEnergy(energy, step, self._steps, meter.time_s, meter.source, meter.reason))

    def stop(self) -> None:
        """Ends an epoch that was begun, if there is one: training may stop in the middle."""
        if self._running:
            self.__exit__()

    def logs(self) -> dict[str, float]:
        """Numbers of the last epoch for a logger; only what is known."""
        if not self.epochs:
            return {}
        last = self.epochs[-1]
        found = {"epoch_j": last.energy_j, "step_j": last.step_j}
        kind = None if last.energy_j is None else last.energy_j.kind.value
        return {f"energy_{kind}/{name}": one.value for name, one in found.items() if one is not None}


def _share(energy: Measurement, steps: int) -> Measurement:
    kind = Kind.ATTRIBUTED if energy.kind is Kind.MEASURED else energy.kind
    value, low, high = (end / steps for end in (energy.value, energy.low, energy.high))
    return Measurement(value, "J", kind, low, high)


def lightning_callback(hardware: str = DEFAULT, source: str | None = None, clock: Clock | None = None) -> Any:
    """A callback for ``Trainer(callbacks=[...])`` of Lightning, which logs J of each epoch and step.

    Its ``meter`` is a `TrainingMeter`.

    Raises:
        ImportError: Lightning is not installed; the message says how to get it.
    """
    base = _first_of(("lightning.pytorch", "pytorch_lightning"), "lightning").Callback

    class EnergyCallback(base):
        """J of each epoch and step of training."""

        def __init__(self) -> None:
            super().__init__()
            self.meter = TrainingMeter(hardware, source, clock)

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            self.meter.__enter__()

        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            self.meter.step()

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.meter.stop()
            for name, value in self.meter.logs().items():
                pl_module.log(name, value)

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            self.meter.stop()

    return EnergyCallback()


def trainer_callback(hardware: str = DEFAULT, source: str | None = None, clock: Clock | None = None) -> Any:
    """A callback for ``Trainer(callbacks=[...])`` of Hugging Face transformers, which adds J to its logs.

    Its ``meter`` is a `TrainingMeter`.

    Raises:
        ImportError: transformers is not installed; the message says how to get it.
    """
    base = _first_of(("transformers",), "transformers").TrainerCallback

    class EnergyCallback(base):
        """J of each epoch and step of training."""

        def __init__(self) -> None:
            super().__init__()
            self.meter = TrainingMeter(hardware, source, clock)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.meter.__enter__()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.meter.step()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.meter.stop()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.meter.stop()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs is not None:
                logs.update(self.meter.logs())

    return EnergyCallback()


def _first_of(modules: Sequence[str], extra: str) -> Any:
    """The first of the modules that is installed."""
    for name in modules:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise ImportError(f"{' and '.join(modules)} not installed: pip install 'greenkernels[{extra}]'")
