"""How far a converted network may differ from the stock one, and whether it does.

Checked on the example inputs, on variations of them that no choice was made on, and on calibration inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..measure.rotation import relative_error, tensors_in, variations

Inputs = tuple[tuple[Any, ...], dict[str, Any]]  # positional and keyword arguments of one call

CHECKED_INPUTS = 3  # the example inputs, mirrored, and shifted


@dataclass(frozen=True)
class Bounds:
    """What the caller allows; see `plan`.

    Attributes:
        max_error: of ||y - y_ref|| / ||y_ref||.
        metric: quality, the higher the better, of an output or of the whole model; None for none.
        max_drop: how much of it may be lost.
        metric_of: "output" or "model".
        calibration: inputs to check on besides.
    """

    max_error: float
    metric: Callable[[Any], float] | None = None
    max_drop: float = 0.0
    metric_of: str = "output"
    calibration: tuple[Inputs, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a converted network does to the results.

    Attributes:
        error: largest relative difference of an output.
        drop: largest loss of the metric; None without one.
    """

    error: float
    drop: float | None = None


class Judge:
    """Holds what the stock network makes of all checked inputs."""

    def __init__(self, stock: nn.Module, inputs: Inputs, bounds: Bounds) -> None:
        self.bounds, self.first = bounds, inputs
        self.checked = [*variations(inputs, CHECKED_INPUTS), *bounds.calibration]
        self.measured = [0, *range(CHECKED_INPUTS, len(self.checked))]  # a metric knows no variations
        with torch.inference_mode():
            self.expected = [run(stock, x) for x in self.checked]
        if not tensors_in(self.expected[0]):
            kind = type(self.expected[0]).__name__
            raise ValueError(f"plan: the output of model must hold tensors, to be compared by, got {kind}")
        self.stock_metrics = self._metrics(stock, self.expected)
        for value in self.stock_metrics:
            if not math.isfinite(value):
                raise ValueError(f"plan: metric must be finite for the stock network, got {value}")

    def find(self, network: nn.Module) -> Finding:
        """Run a converted network on all inputs."""
        with torch.inference_mode():
            outputs = [run(network, x) for x in self.checked]
            error = max(relative_error(y, e) for y, e in zip(outputs, self.expected, strict=True))
        metrics = self._metrics(network, outputs)
        pairs = zip(self.stock_metrics, metrics, strict=True)
        drops = [math.inf if math.isnan(got) else stock - got for stock, got in pairs]
        return Finding(error, max(drops, default=None))

    def broken(self, found: Finding) -> str:
        """Which bound does not hold, in words; "" if all do."""
        if not found.error <= self.bounds.max_error:
            return f"the network's error would be {found.error:.1e}, allowed {self.bounds.max_error:.1e}"
        if found.drop is not None and not found.drop <= self.bounds.max_drop:
            return f"the metric would drop by {found.drop:.4g}, allowed {self.bounds.max_drop:.4g}"
        return ""

    def _metrics(self, network: nn.Module, outputs: list[Any]) -> list[float]:
        metric = self.bounds.metric
        if metric is None:
            return []
        with torch.inference_mode():
            values = [network] if self.bounds.metric_of == "model" else [outputs[i] for i in self.measured]
            return [float(metric(value)) for value in values]


def run(network: nn.Module, inputs: Inputs) -> Any:
    """One call."""
    return network(*inputs[0], **inputs[1])
