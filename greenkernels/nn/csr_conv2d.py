"""SparseConv2d: nn.Conv2d with a pruned filter, on the csr_conv2d kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.csr_conv2d_op import CONV_BATCH, packed_conv
from .conversion import check_attributes, check_stock, conv_arguments
from .sparse_weight import KeepsSparseWeight, only_pruning_hooks, pruned_weight

if TYPE_CHECKING:
    from ..energy.counts import Counts

NEEDED = {"transposed": False, "groups": 1, "padding_mode": "zeros"}


class SparseConv2d(KeepsSparseWeight, nn.Conv2d):
    """Stand-in for ``nn.Conv2d`` that stores and multiplies the nonzeros of its filter alone.

    Any filter, stride, padding with zeros and dilation; one group. ``values``, ``weight``, ``packed``, files and
    fallbacks are those of `SparseLinear`. Calls that need the gradient of the values run torch's dense convolution,
    through which it flows to the nonzeros alone.

    Args:
        strict: Whether to raise a RuntimeError instead of falling back.

    The other arguments are those of ``nn.Conv2d``. The filter of a layer made so is zero until ``load_state_dict``
    fills it; ``from_module`` makes one of a filter.

    Attributes:
        fallbacks: Reason -> number of calls that ran torch's dense convolution for it.
        sparsity: Share of the filter that is not stored.
    """

    stem = "csr_conv2d_packed"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        strict: bool = False,
    ) -> None:
        sizes = (
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
        )
        stock = nn.Conv2d(*sizes, device="meta", dtype=dtype)
        check_attributes(stock, NEEDED, (stock.weight.dtype,))
        nn.Module.__init__(self)
        empty = torch.zeros(stock.weight.shape, device=device, dtype=dtype)
        self._take(stock, empty, empty != 0, strict)
        self.register_parameter("bias", nn.Parameter(empty.new_zeros(out_channels)) if bias else None)

    def _take(self, stock: nn.Conv2d, weight: Tensor, kept: Tensor, strict: bool) -> None:
        for name in nn.Conv2d.__constants__:
            setattr(self, name, getattr(stock, name))
        self.transposed = stock.transposed
        self._reversed_padding_repeated_twice = stock._reversed_padding_repeated_twice
        self._set_sparse(weight, kept, CONV_BATCH, strict)

    @classmethod
    def from_module(
        cls,
        stock: nn.Conv2d,
        *,
        strict: bool = False,
        warn: bool = True,
        input_shape: Sequence[int] | None = None,
    ) -> SparseConv2d:
        """The layer of the nonzeros of ``stock``, on the same bias.

        Args:
            stock: An ``nn.Conv2d``, also one pruned with ``torch.nn.utils.prune``, whose mask then says what is kept.
            strict: As for the constructor.
            warn: Whether to time both layers on an input of ``input_shape``, if that is given, and to warn with the
                times where the dense layer is faster.
            input_shape: ``[batch, in_channels, h, w]``.

        Raises:
            ValueError: ``stock`` is not exactly an ``nn.Conv2d``, has other hooks than pruning's, or an attribute
                with a value that the kernel lacks; the message names it.
        """
        if not only_pruning_hooks(stock) or type(stock) is not nn.Conv2d:
            check_stock(stock, nn.Conv2d)
        check_attributes(stock, NEEDED, (stock.weight.dtype,))
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        module._take(stock, *pruned_weight(stock), strict)
        module.register_parameter("bias", stock.bias)
        module.values.requires_grad_(any(p.requires_grad for n, p in stock.named_parameters() if n != "bias"))
        module.train(stock.training)
        if warn and input_shape is not None:
            from .sparse_speed import warn_if_slower  # not needed to run the layer

            warn_if_slower(stock, module, input_shape)
        return module

    def to_module(self) -> nn.Conv2d:
        """The stock layer: the dense filter, zeros included, and the same bias; exact."""
        conv = nn.Conv2d(**conv_arguments(self))
        conv.weight = nn.Parameter(self.weight.detach(), requires_grad=self.values.requires_grad)
        conv.bias = self.bias
        return conv.train(self.training)

    def reset_parameters(self) -> None:
        """New values at the same places, uniform as those of ``nn.Conv2d`` are."""
        fan_in = self.in_channels * self.kernel_size[0] * self.kernel_size[1]
        bound = fan_in**-0.5 if fan_in else 0.0
        for parameter in (self.values, self.bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)

    def _dense_shape(self) -> tuple[int, ...]:
        return self.out_channels, self.in_channels, *self.kernel_size

    def forward(self, input: Tensor) -> Tensor:
        """The convolution.

        Args:
            input: ``[batch, in_channels, h, w]`` or ``[in_channels, h, w]``, any strides.

        Returns:
            The map of ``nn.Conv2d``, in the memory format of ``input``.
        """
        if input.dim() == 3:
            return self.forward(input.unsqueeze(0)).squeeze(0)
        reason = self._fallback_reason(input)
        if reason is None and input.dtype == torch.float64:
            reason = "input.dtype=torch.float64"
        if reason is not None:
            self._count_fallback(reason)
            return self._conv_forward(input, self.weight, self.bias)
        values = self._parameters["values"]
        packed = self._packed(input, values)
        if packed is None:
            return self._conv_forward(input, self.weight, self.bias)
        input, padding = self._pad(input)
        geometry = (self.kernel_size, self.stride, padding, self.dilation)
        return packed_conv(input, packed, self.bias, self.out_channels, *geometry, values.shape[0])

    def _packed(self, input: Tensor, values: Tensor) -> Tensor | None:
        """The packed filter if this call may use it."""
        if torch.is_grad_enabled() and values.requires_grad and not torch.compiler.is_exporting():
            return None
        if input.dtype != values.dtype and not torch.is_autocast_enabled("cpu"):
            return None  # the check of torch's convolution has the words
        if input.dim() != 4 or input.shape[1] != self.in_channels:
            return None
        if torch.compiler.is_compiling():
            return None if self.training else self.packed
        return self.packed_for(CONV_BATCH)

    def _pad(self, input: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The input and the zero padding that the kernel shall add to it."""
        if self.padding == "valid":
            return input, (0, 0)
        if self.padding != "same":
            return input, self.padding
        left, right, top, bottom = self._reversed_padding_repeated_twice
        if left == right and top == bottom:
            return input, (top, left)
        return F.pad(input, (left, right, top, bottom)), (0, 0)

    def extra_repr(self) -> str:
        packed = sum(p.numel() for _, p in self._packs.values())
        return f"{super().extra_repr()}, nnz={self.values.numel()}, sparsity={self.sparsity:.3f}, packed_bytes={packed}"

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of the kernel in a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.kernels.csr_conv2d import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)
