"""Block-wise optimal brain surgeon: which weights can go, and how the others make up for them.

The Hessian of the loss is taken as ``damping * I + mean(g g^T)`` within blocks of ``block`` adjacent weights of a row
and 0 between them; g are the gradients of batches. Removing weight q then costs ``w_q^2 / (2 [H^-1]_qq)``, and the
others of its block move by ``-w_q [H^-1]_q / [H^-1]_qq``. Source: Kurtic et al., "The Optimal BERT Surgeon", EMNLP
2022, after Hassibi and Stork, "Second order derivatives for network pruning", NIPS 1992.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .importance import Loss, Scores, gradients
from .layers import mask_of, trained_weight

BLOCK = 16
DAMPING = 1e-6  # keeps the inverse finite where gradients vanish


def blocks_of(weight: Tensor, block: int = BLOCK) -> Tensor:
    """``[rows, columns]`` as ``[blocks, block]``, rows padded with zeros."""
    flat = weight.flatten(1)
    return F.pad(flat, (0, -flat.shape[1] % block)).reshape(-1, block)


def from_blocks(blocks: Tensor, shape: torch.Size) -> Tensor:
    """The way back from `blocks_of`."""
    rows = shape[0]
    return blocks.reshape(rows, -1)[:, : shape.numel() // max(1, rows)].reshape(shape)


class Surgeon:
    """Inverse Hessians of the blocks of each layer, from the gradients of batches.

    Args:
        model: The network.
        layers: Name -> layer.
        loss: Function of model and batch.
        batches: One gradient each; some tens are enough.
        damping: Added to the diagonal of the Hessian.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: dict[str, nn.Module],
        loss: Loss | None,
        batches: Iterable[Any],
        damping: float = DAMPING,
    ) -> None:
        self.layers = layers
        samples: list[list[Tensor]] = [[] for _ in layers]
        for found in gradients(model, layers, loss, batches):
            for kept, g in zip(samples, found, strict=True):
                kept.append(blocks_of(g))
        self.inverses = {name: _inverse(kept, damping) for name, kept in zip(layers, samples, strict=True)}

    def scores(self) -> Scores:
        """``w_q^2 / (2 [H^-1]_qq)``."""
        return {name: self._score(name, module) for name, module in self.layers.items()}

    def _score(self, name: str, module: nn.Module) -> Tensor:
        weight = trained_weight(module).detach()
        diagonal = self.inverses[name].diagonal(dim1=1, dim2=2)
        return from_blocks(blocks_of(weight).square() / (2 * diagonal), weight.shape)

    def update(self, masks: dict[str, Tensor]) -> None:
        """Moves the weights that stay so that the loss rises least when those outside of ``masks`` go.

        All weights of a block that go, together: ``dw = -H^-1[:, Q] (H^-1[Q, Q])^-1 w_Q``.
        """
        for name, module in self.layers.items():
            weight = trained_weight(module)
            gone = blocks_of(mask_of(module) & ~masks[name])
            inverse, w = self.inverses[name], blocks_of(weight.detach() * mask_of(module))
            # (H^-1)[Q, Q], with the identity in the place of all others, solved in one batch.
            pairs = gone[:, :, None] & gone[:, None, :]
            eye = torch.eye(gone.shape[1], dtype=w.dtype, device=w.device)
            system = torch.where(pairs, inverse, torch.zeros_like(inverse)) + eye * (~gone)[:, :, None]
            multipliers = torch.linalg.solve(system, (w * gone)[:, :, None])
            moved = w - (inverse @ multipliers)[:, :, 0]
            with torch.no_grad():
                weight.copy_(from_blocks(moved * ~gone, weight.shape))


def _inverse(samples: list[Tensor], damping: float) -> Tensor:
    """``[blocks, block, block]``: the inverse of ``damping I + mean(g g^T)``, a sample at a time (Sherman-Morrison)."""
    blocks, size = samples[0].shape
    eye = torch.eye(size, dtype=samples[0].dtype, device=samples[0].device)
    inverse = (eye / damping).expand(blocks, size, size).clone()
    for g in samples:
        column = torch.bmm(inverse, g[:, :, None])
        scale = len(samples) + (g[:, None, :] @ column)
        inverse -= column @ column.transpose(1, 2) / scale
    return inverse
