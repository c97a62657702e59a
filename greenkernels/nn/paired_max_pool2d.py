"""PairedMaxPool2d: nn.MaxPool2d over windows of 2x2, as maxima of pairs of rows and then of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from .conversion import check_stock

if TYPE_CHECKING:
    from ..energy.counts import Counts

# kernel_size, stride, padding and dilation that it stands in for.
_GEOMETRY = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}


class PairedMaxPool2d(nn.MaxPool2d):
    """Stands in for ``nn.MaxPool2d(2)`` in inference: the same numbers from two vectorized passes.

    torch goes through each window by itself. The maxima of pairs of rows, then of pairs of columns, take a fifth to a
    twelfth of its time for maps of few channels (docs/compression.md). Where a gradient is asked for the
    forward is that of ``nn.MaxPool2d``: its gradient goes to one element of a window, whatever is equal.
    """

    def __init__(self) -> None:
        super().__init__(2)

    @classmethod
    def from_module(cls, stock: nn.Module) -> PairedMaxPool2d:
        """The module that computes what ``stock`` does.

        Raises:
            ValueError: ``stock`` is no ``nn.MaxPool2d``, has hooks, or windows that are not of 2x2 side by side; the
                message names the attribute.
        """
        check_stock(stock, nn.MaxPool2d)
        for name, wanted in _GEOMETRY.items():
            if _pair(getattr(stock, name)) != wanted:
                raise ValueError(f"{name} must be {wanted}, got {name}={getattr(stock, name)}")
        for name in ("ceil_mode", "return_indices"):
            if getattr(stock, name):
                raise ValueError(f"{name} must be False, got {name}=True")
        return cls().train(stock.training)

    def to_module(self) -> nn.MaxPool2d:
        """``nn.MaxPool2d(2)``."""
        return nn.MaxPool2d(2).train(self.training)

    def forward(self, input: Tensor) -> Tensor:
        """The largest of each window of 2x2; of an odd size the last row or column is left out.

        Args:
            input: ``[batch, channels, h, w]`` or ``[channels, h, w]``, ``h`` and ``w`` at least 2, any strides.

        Returns:
            ``[batch, channels, h // 2, w // 2]`` or ``[channels, h // 2, w // 2]``.
        """
        no_window = input.dim() not in (3, 4) or min(input.shape[-2:]) < 2  # then torch has the words
        if no_window or (torch.is_grad_enabled() and input.requires_grad):
            return super().forward(input)
        h, w = (size // 2 * 2 for size in input.shape[-2:])
        rows = torch.maximum(input[..., 0:h:2, :w], input[..., 1:h:2, :w])
        return torch.maximum(rows[..., 0::2], rows[..., 1::2])

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.counts import Counts  # not needed to run the layer

        (shape,) = input_shapes
        outputs = math.prod(shape[:-2]) * (shape[-2] // 2) * (shape[-1] // 2)
        read, written = 4 * (math.prod(shape) + 2 * outputs), 4 * 3 * outputs  # the maxima of rows in between
        return Counts(3 * outputs, read, written, 0, "float32")
