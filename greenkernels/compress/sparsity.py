"""How many weights of a network are zero."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..nn.sparse_weight import KeepsSparseWeight, pruned_weight
from .layers import prunable


@dataclass(frozen=True)
class LayerSparsity:
    """One layer."""

    name: str
    kind: str
    zeros: int
    weights: int

    @property
    def share(self) -> float:
        """Of zeros, 0 to 1."""
        return self.zeros / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class Sparsity:
    """All layers with weights that can be pruned; prints as a table."""

    layers: tuple[LayerSparsity, ...]

    @property
    def zeros(self) -> int:
        """Weights that are zero."""
        return sum(layer.zeros for layer in self.layers)

    @property
    def weights(self) -> int:
        """All of them; biases are not counted."""
        return sum(layer.weights for layer in self.layers)

    @property
    def share(self) -> float:
        """Of zeros, 0 to 1."""
        return self.zeros / self.weights if self.weights else 0.0

    def __str__(self) -> str:
        rows = [(layer.name or "(model)", layer.kind, layer.zeros, layer.weights) for layer in self.layers]
        rows.append(("all", "", self.zeros, self.weights))
        wide = max(len("layer"), *(len(row[0]) for row in rows))
        kinds = max(len(row[1]) for row in rows)
        lines = [f"{'layer':<{wide}}  {'':<{kinds}}  {'zeros':>10}  {'weights':>10}  share"]
        for name, kind, zeros, weights in rows:
            share = zeros / weights if weights else 0.0
            lines.append(f"{name:<{wide}}  {kind:<{kinds}}  {zeros:>10}  {weights:>10}  {share:6.1%}")
        return "\n".join(lines)


def sparsity(model: nn.Module) -> Sparsity:
    """Zeros of each ``nn.Linear`` and ``nn.Conv2d``, masked, written or not stored."""
    rows = []
    dense = prunable(model)
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, KeepsSparseWeight):
            weights = module.weight.numel()
            nonzero = int(module.values.count_nonzero())
            rows.append(LayerSparsity(name, kind, weights - nonzero, weights))
        elif name in dense:
            weight, _ = pruned_weight(module)
            rows.append(
                LayerSparsity(name, kind, weight.numel() - int(weight.count_nonzero()), weight.numel())
            )
    return Sparsity(tuple(rows))
