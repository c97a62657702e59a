"""WinogradConv2d: nn.Conv2d for 3x3 filters with stride 1, on the winograd_conv2d kernels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..ops.winograd_conv2d import check_options
from ..ops.winograd_conv2d_op import conv, pack, packed_conv
from .fused_conv2d import FusedConv2d

if TYPE_CHECKING:
    from ..energy.counts import Counts

_ONE = (1, 1)


class WinogradConv2d(FusedConv2d):
    """Drop-in for ``nn.Conv2d`` with 3x3 filters, stride 1, dilation 1, groups 1.

    ``forward(input, skip=None, skip_scale=1.0)`` computes ``activation(conv(input) + skip_scale * skip)``
    as ``greenkernels.ops.winograd_conv2d`` does.

    The transformed weight is kept in the non-persistent buffer ``packed``. Eager calls pack again when the
    weight's storage, shape or version changed; ``load_state_dict``, ``to`` and the like, ``train()``,
    ``eval()`` and unpickling always do. Writes through ``weight.data`` cannot be seen: call ``repack()``
    after them. Calls that need the gradient of the weight pack on the fly. Under ``torch.compile`` and
    ``torch.export`` in eval mode the graph reads ``packed`` as it is: after writing to the weight call
    ``repack()``.

    A call that the kernel does not cover (device, dtype, layout, no compiled kernel, GREENKERNELS_DISABLE=1)
    runs torch's own convolution on the same weight, is counted in ``fallbacks`` and logged once.

    A NaN or infinity in the input spreads over the output tiles that read it; ``check_finite`` refuses such
    input.

    Args:
        tile: Width of an output tile: 2, 4 or 6; larger is faster and less exact (errors about 2x, 5x, 17x).
        activation: Applied last; a name of ``greenkernels.ops.winograd_conv2d`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01, a constant) or "prelu" (default 0.25, a float
            or a tensor with 1 or ``out_channels`` elements, learned: the only addition to the keys of the
            stock ``state_dict``).
        strict: Whether to raise a RuntimeError instead of falling back.
        check_finite: Whether to raise a RuntimeError for input with NaN or infinity; reads the input once
            more.

    The other arguments are those of ``nn.Conv2d``; values that the kernel does not have raise a ValueError.

    Attributes:
        fallbacks: Reason -> number of calls that ran torch's convolution for it.
    """

    stem = "winograd_conv2d"
    needed: ClassVar[dict[str, Any]] = {
        "kernel_size": (3, 3),
        "stride": _ONE,
        "dilation": _ONE,
        "groups": 1,
        "transposed": False,
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        tile: int = 4,
        activation: str | None = None,
        activation_param: Tensor | float | None = None,
        strict: bool = False,
        check_finite: bool = False,
    ) -> None:
        check_options(tile, activation, activation_param)
        geometry = (kernel_size, stride, padding, dilation, groups)
        fused = {"activation": activation, "activation_param": activation_param, "strict": strict}
        super().__init__(in_channels, out_channels, *geometry, bias, padding_mode, device, dtype, **fused)
        self.tile, self.check_finite = tile, check_finite

    def _run(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        return conv(input, weight, bias, padding, self.tile, *epilogue)

    def _run_packed(
        self, input: Tensor, packed: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        return packed_conv(input, packed, bias, self.out_channels, padding, self.tile, *epilogue)

    def _pack(self, weight: Tensor) -> Tensor | None:
        return pack(weight, self.tile) if self._can_pack(weight) else None

    def counts(self, *input_shapes: Sequence[int]) -> "Counts":
        """Work of the kernel in a call on an input, and a ``skip``, of these shapes; see `greenkernels.energy`."""
        from ..energy.kernels.winograd_conv2d import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)

    def _is_plain_call(self, input: Tensor, weight: Tensor | None) -> bool:
        return (
            super()._is_plain_call(input, weight)
            and self.stride == _ONE
            and self.dilation == _ONE
            and self.groups == 1
            and not self.check_finite
        )

    def _forward_checked(self, input: Tensor, skip: Tensor | None, skip_scale: float) -> Tensor:
        if self.check_finite:
            _check_finite(input)
        return super()._forward_checked(input, skip, skip_scale)

    def _repr_of_options(self) -> list[str]:
        return [f"tile={self.tile}"]


def _check_finite(input: Tensor) -> None:
    finite = torch.isfinite(input).all()
    message = "winograd_conv2d: input must be finite, got NaN or infinity (check_finite=True)"
    if torch.compiler.is_compiling():
        torch.ops.aten._assert_async.msg(finite, message)
    elif not finite:
        raise RuntimeError(message)
