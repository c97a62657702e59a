"""What layers are called on, gathered over calibration batches by hooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Seen:
    """The inputs of one layer, as the rows ``[rows, k]`` that its weight ``[n, k]`` is multiplied by.

    Attributes:
        rows: so many.
        gram: float64 ``[k, k]``, sum over the rows of ``x x^T``; empty unless it was asked for.
        total: float64 ``[k]``, sum of the rows.
        largest: float32 ``[channels]`` of the input, the largest size.
        low, high: the ends of all values.
        values: a sample of at most 2^16 of them, for ends of a grid.
    """

    rows: int = 0
    gram: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))
    total: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    largest: Tensor = field(default_factory=lambda: torch.zeros(0))
    low: float = math.inf
    high: float = -math.inf
    values: list[Tensor] = field(default_factory=list)

    @property
    def mean(self) -> Tensor:
        """float32 ``[k]``."""
        return (self.total / max(1, self.rows)).float()


SAMPLE = 1 << 12  # values kept of a call
SAMPLES = 16  # calls of which values are kept


@torch.no_grad()
def look_at_inputs(
    model: nn.Module, layers: dict[str, nn.Module], batches: Iterable[Any], *, gram: bool = False
) -> dict[str, Seen]:
    """Runs the network on batches and tells what its Linear and Conv2d layers were called on.

    Args:
        model: in eval mode.
        layers: name -> layer of it, without groups if ``gram``.
        batches: arguments of a call each: a tensor, or a tuple of them.
        gram: whether to add up products of inputs, which takes as long as the layer itself and ``8 k^2`` bytes.

    Raises:
        ValueError: no batch.
    """
    found = {name: Seen() for name in layers}
    handles = [module.register_forward_pre_hook(_hook(found[name], gram)) for name, module in layers.items()]
    none = True
    try:
        for batch in batches:
            none = False
            model(*(batch if isinstance(batch, tuple) else (batch,)))
    finally:
        for handle in handles:
            handle.remove()
    if none:
        raise ValueError("quantize: batches must hold at least one batch for this, got none")
    return found


def _hook(seen: Seen, gram: bool) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].detach().float()
        if isinstance(module, nn.Conv2d):
            x = x if x.dim() == 4 else x.unsqueeze(0)
            largest = x.abs().amax((0, 2, 3))
        else:
            x = x.reshape(-1, x.shape[-1])
            largest = x.abs().amax(0)
        seen.largest = torch.maximum(seen.largest, largest) if len(seen.largest) else largest
        if x.numel():
            seen.low, seen.high = min(seen.low, float(x.min())), max(seen.high, float(x.max()))
        if len(seen.values) < SAMPLES:
            seen.values.append(_sample(x.flatten(), len(seen.values)))
        rows = rows_of(module, x)
        seen.rows += len(rows)
        total = rows.sum(0, dtype=torch.float64)
        seen.total = seen.total + total if len(seen.total) else total
        if gram:
            product = (rows.T @ rows).double()
            seen.gram = seen.gram + product if len(seen.gram) else product

    return hook


def _sample(flat: Tensor, seed: int) -> Tensor:
    """`SAMPLE` of the values, by chance: every n-th value may be the same place of each map, a corner as a rule."""
    if len(flat) <= SAMPLE:
        return flat.clone()
    places = torch.randint(len(flat), (SAMPLE,), generator=torch.Generator().manual_seed(seed))
    return flat[places.to(flat.device)]


def rows_of(module: nn.Module, x: Tensor) -> Tensor:
    """``[rows, k]``: what each output is a product of the weight with. Of groups of channels, each its own rows."""
    if isinstance(module, nn.Linear):
        return x
    pad = module._reversed_padding_repeated_twice  # also of padding="same"
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = F.pad(x, pad, mode=mode) if any(pad) else x
    patches = F.unfold(x, module.kernel_size, dilation=module.dilation, stride=module.stride)
    return patches.transpose(1, 2).reshape(-1, module.weight[0].numel())
