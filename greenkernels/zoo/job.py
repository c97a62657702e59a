"""A job: a real network, a real input, and a judge of what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(frozen=True)
class Job:
    """What a module of the zoo gives.

    Attributes:
        name: the zoo's name of the network.
        network: with real weights, in eval mode.
        inputs: arguments of one call.
        score: quality of the network's output; higher is better.
        score_name, score_unit: what the score is called ("PSNR", "dB").
        simple_score: the score that the simplest method of the trade reaches, for orientation.
        simple_name: that method.
        pictures: label -> ``[1, 3, h, w]``, what to show beside the output; empty where there is nothing to see.
        truth: the right answer as a picture, or None.
    """

    name: str
    network: nn.Module
    inputs: tuple[Tensor, ...]
    score: Callable[[Tensor], float]
    score_name: str
    score_unit: str
    simple_score: float
    simple_name: str
    pictures: dict[str, Tensor] = field(default_factory=dict)
    truth: Tensor | None = None
