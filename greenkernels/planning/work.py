"""Counts the work of one forward of a network, in the modules that have no children."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..energy import Counts, count


@dataclass
class NetworkWork:
    """What one forward does, by the counting rules of `greenkernels.energy`.

    Attributes:
        counts: of every call of a module that a rule covers.
        uncounted: class -> why its calls are not in it.

    What a forward computes between its modules (additions, views, functions) is not seen.
    """

    counts: list[Counts] = field(default_factory=list)
    uncounted: dict[str, str] = field(default_factory=dict)

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a forward; see `watch.watched`."""
        shapes = [x.shape for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if next(module.children(), None) is not None or not shapes:
            return
        counts, reason = count(module, *shapes)
        if counts is None:
            self.uncounted[type(module).__name__] = reason
        else:
            self.counts.append(counts)
