"""What a caller of gk.plan asked for, checked: every bad value raises a ValueError that names the argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..measure.clock import Clock
from . import candidates
from .cache import Cache
from .candidates import Stem
from .objective import OBJECTIVES
from .quality import Bounds, Inputs

METRIC_OF = ("output", "model")


@dataclass(frozen=True)
class Settings:
    """What the caller asked for; see `plan`."""

    objective: str
    bounds: Bounds
    stems: tuple[Stem, ...]
    measure: bool
    time_budget: float | None
    max_memory: int | None
    strict: bool
    seed: int
    cache: Cache
    clock: Clock

    @property
    def spent(self) -> str:
        """Why something was not timed where the time budget ended before it."""
        return f"not measured: the time budget of {self.time_budget} s was spent"

    def identity(self) -> list[object]:
        """What a plan depends on besides network, inputs and machine."""
        stems = [[stem.name, stem.lossy] for stem in self.stems]
        bounds = [self.bounds.max_error, self.bounds.max_drop, self.bounds.metric_of]
        return [
            *(self.objective, bounds, stems, self.measure),
            *(self.time_budget, self.max_memory, self.strict, self.seed),
        ]


def settings(objective: str, precision: str | set[str], bounds: Bounds, **options: Any) -> Settings:
    """Check what is left to check and put it together."""
    if objective not in OBJECTIVES:
        raise ValueError(f"plan: objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    for name in ("measure", "strict"):
        if not isinstance(options[name], bool):
            raise ValueError(f"plan: {name} must be True or False, got {options[name]!r}")
    _positive("time_budget", options["time_budget"], "a number of seconds")
    _positive("max_memory", options["max_memory"], "a number of bytes", least=0)
    if not _is_number(options["seed"]) or int(options["seed"]) != options["seed"] or options["seed"] < 0:
        raise ValueError(f"plan: seed must be an integer of at least 0, got {options['seed']!r}")
    return Settings(objective, bounds, wanted_stems(precision), **options)


def bounds(
    max_error: float,
    metric: Callable[[Any], float] | None,
    max_drop: float | None,
    metric_of: str,
    calibration: Iterable[Any] | None,
) -> Bounds:
    """The bounds on the results, checked; calibration inputs are kept in memory."""
    if not _is_number(max_error) or not max_error > 0:
        raise ValueError(f"plan: max_error must be positive, got {max_error!r}")
    if metric is None and max_drop is not None:
        raise ValueError(f"plan: max_drop needs a metric that may drop, got max_drop={max_drop} alone")
    if metric is not None and not callable(metric):
        raise ValueError(f"plan: metric must be a function, got {type(metric).__name__}")
    if metric_of not in METRIC_OF:
        raise ValueError(f"plan: metric_of must be one of {', '.join(METRIC_OF)}, got {metric_of!r}")
    drop = 0.0 if max_drop is None else max_drop
    if not _is_number(drop) or not 0 <= drop < math.inf:
        raise ValueError(f"plan: max_drop must be a number of at least 0, got {max_drop!r}")
    if calibration is not None and (
        isinstance(calibration, (Tensor, str, Mapping)) or not isinstance(calibration, Iterable)
    ):
        kind = type(calibration).__name__
        raise ValueError(f"plan: calibration must be an iterable of inputs, such as a list, got {kind}")
    inputs = tuple(arguments(x, "calibration") for x in calibration or ())
    return Bounds(float(max_error), metric, float(drop), metric_of, inputs)


def wanted_stems(precision: str | set[str]) -> tuple[Stem, ...]:
    """The kernels that may be used; raises ValueError for an argument out of range."""
    if precision == "float32":
        return tuple(stem for stem in candidates.registered() if not stem.lossy)
    if precision == "int8":  # beside those that lose nothing: what suits a layer is measured
        return tuple(s for s in candidates.registered() if not s.lossy or s.precision == "int8")
    names = {stem.name for stem in candidates.registered()}
    if isinstance(precision, str) or not isinstance(precision, Iterable) or not set(precision) <= names:
        raise ValueError(
            f"plan: precision must be 'float32', 'int8' or a set out of {sorted(names)}, got {precision!r}"
        )
    return tuple(stem for stem in candidates.registered() if stem.name in precision)


def arguments(example_inputs: Any, name: str = "example_inputs") -> Inputs:
    """Inputs in any of their spellings as positional and keyword arguments."""
    if isinstance(example_inputs, Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, dict):
        return (), dict(example_inputs)
    if isinstance(example_inputs, (tuple, list)):
        return tuple(example_inputs), {}
    kind = type(example_inputs).__name__
    raise ValueError(f"plan: {name} must be a tensor, a tuple or a dict, got {kind}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _positive(name: str, value: Any, what: str, least: float | None = None) -> None:
    """Raises ValueError unless the value is None or a number above 0 (or from `least` on)."""
    if value is None:
        return
    if not _is_number(value) or (value <= 0 if least is None else value < least):
        limit = "above 0" if least is None else f"of at least {least}"
        raise ValueError(f"plan: {name} must be {what} {limit} or None, got {value!r}")
