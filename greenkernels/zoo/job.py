"""A job: a real network, a real input, and a judge of what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Job:
    """What a module of the zoo gives.

    Attributes:
        name: the zoo's name of the network.
        network: with real weights, in eval mode.
        inputs: arguments of one call.
        score: quality of the network's output; higher is better. None where no truth is published. It comes after
            the difference of outputs, never in place of it: broken kernels leave most scores as they are.
        score_name, score_unit: what the score is called ("PSNR", "dB").
        simple_score: the score that the simplest method of the trade reaches, for orientation.
        simple_name: that method; "" for none.
        pictures: label -> ``[1, 3, h, w]``, what to show beside the output; empty where there is nothing to see.
        truth: the right answer as a picture, or None.
        role: what the network stands for, see `Network.role`.
        about: one line: what goes in, what comes out.
        as_picture: the network's output as ``[1, 3, h, w]`` in 0..1 to show, or None where it is no picture.
    """

    name: str
    network: nn.Module
    inputs: tuple[Any, ...]
    score: Callable[[Any], float] | None = None
    score_name: str = ""
    score_unit: str = ""
    simple_score: float | None = None
    simple_name: str = ""
    pictures: dict[str, Tensor] = field(default_factory=dict)
    truth: Tensor | None = None
    role: str = "3x3"
    about: str = ""
    as_picture: Callable[[Any], Tensor] | None = None

    @property
    def sizes(self) -> str:
        """The shapes of the inputs in words: ``1 x 3 x 300 x 451``."""
        return ", ".join(" x ".join(map(str, x.shape)) for x in self.inputs if isinstance(x, Tensor))

    @property
    def score_heading(self) -> str:
        """What the score is called, with its unit; "" without a judge."""
        return f"{self.score_name} {self.score_unit}".strip() if self.score else ""

    def quality(self, output: Any) -> float | None:
        return None if self.score is None else self.score(output)
