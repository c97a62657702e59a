"""Which weights are pruned together: each alone, blocks, N of M, whole channels; and which units go for an amount."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FORMS = "unstructured, RxC (2x1, 4x1, ...), N:M (2:4, ...) or channels"


@dataclass(frozen=True)
class Structure:
    """Units of ``rows`` x ``cols`` weights of the weight seen as ``[outputs, inputs]``.

    Attributes:
        rows, cols: of a unit; 0 columns stand for all, a whole channel or neuron.
        keep, of: N and M of N:M, the number kept in each run of weights of a row; 0 for the others.
    """

    rows: int = 1
    cols: int = 1
    keep: int = 0
    of: int = 0

    @classmethod
    def named(cls, name: str) -> Structure:
        """Raises ValueError for a name that is none of `FORMS`."""
        if name == "unstructured":
            return cls()
        if name == "channels":
            return cls(1, 0)
        if found := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", name):
            return cls(int(found[1]), int(found[2]))
        if (found := re.fullmatch(r"([1-9]\d*):([1-9]\d*)", name)) and int(found[1]) < int(found[2]):
            return cls(keep=int(found[1]), of=int(found[2]))
        raise ValueError(f"prune: structure must be {FORMS}, got {name!r}")

    def unit_scores(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Mean score and number of weights of each unit, both ``[units]``."""
        flat = scores.flatten(1)
        sums, sizes = (self._pool(x) for x in (flat, torch.ones_like(flat)))
        return (sums / sizes.clamp_min(1)).flatten(), sizes.flatten()

    def _pool(self, flat: Tensor) -> Tensor:
        cols = self.cols or max(1, flat.shape[1])
        padded = F.pad(flat, (0, -flat.shape[1] % cols, 0, -flat.shape[0] % self.rows))
        return padded.unflatten(0, (-1, self.rows)).unflatten(2, (-1, cols)).sum((1, 3))

    def mask(self, kept: Tensor, shape: torch.Size) -> Tensor:
        """The mask of a weight of this shape in which the units ``kept`` [units] stay."""
        n, k = shape[0], shape.numel() // max(1, shape[0])
        cols = self.cols or max(1, k)
        grid = kept.reshape(-(-n // self.rows), -(-k // cols))
        mask = grid.repeat_interleave(self.rows, 0).repeat_interleave(cols, 1)
        return mask[:n, :k].reshape(shape)

    def best_of_each_run(self, scores: Tensor) -> Tensor:
        """The mask that keeps the best ``keep`` of each ``of`` weights of a row."""
        flat = scores.flatten(1)
        runs = F.pad(flat, (0, -flat.shape[1] % self.of), value=-1.0).unflatten(1, (-1, self.of))
        best = runs.topk(self.keep, dim=2).indices
        mask = torch.zeros_like(runs, dtype=torch.bool).scatter(2, best, True)
        return mask.flatten(1)[:, : flat.shape[1]].reshape(scores.shape)


def keep_best(means: Tensor, sizes: Tensor, amount: float) -> Tensor:
    """bool ``[units]``: all but the units of least score that make up ``amount`` of all weights.

    Of the two numbers of units next to it the nearer one, as in torch; units of equal score go in their order.
    """
    order = torch.argsort(means, stable=True)
    gone = torch.cumsum(sizes[order].double(), 0)
    target = amount * float(gone[-1]) if gone.numel() else 0.0
    middle = gone - sizes[order].double() / 2
    count = int((middle < target).sum()) if target > 0 else 0
    kept = torch.ones_like(means, dtype=torch.bool)
    kept[order[:count]] = False
    return kept
