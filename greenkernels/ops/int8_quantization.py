"""Weights as symmetric 8-bit integers."""

import torch
from torch import Tensor


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """``values`` in [-127, 127], rounded half to even, and one ``scale`` for each row of ``weight [out, ...]``.

    Raises:
        ValueError: the weight holds a NaN or an infinity.
    """
    rows = weight.detach().float().flatten(1)
    if not rows.isfinite().all():
        raise ValueError("weight must be finite, got NaN or infinite values")
    largest = rows.abs().amax(1) if rows.shape[1] else rows.new_zeros(rows.shape[0])
    scale = (largest / 127).clamp_min(2.0**-126)  # keeps a row of zeros finite
    values = torch.round(rows / scale.unsqueeze(1)).clamp_(-127, 127).to(torch.int8)
    return values.reshape(weight.shape), scale
