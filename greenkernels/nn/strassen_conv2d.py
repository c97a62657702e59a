"""StrassenConv2d: nn.Conv2d with 1x1 filters, on the kernels of sgemm and strassen_gemm."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ..ops.strassen_conv2d_op import conv, pack, packed_conv
from ..ops.strassen_packing import MAX_LEVELS
from .fused_conv2d import FusedConv2d

if TYPE_CHECKING:
    from ..energy.counts import Counts

_ONE = (1, 1)


class StrassenConv2d(FusedConv2d):
    """Drop-in for ``nn.Conv2d`` with filters of one pixel, stride 1, no padding and one group.

    ``forward(input, skip=None, skip_scale=1.0)`` computes ``activation(conv(input) + skip_scale * skip)``
    as ``greenkernels.ops.strassen_conv2d`` does: one matrix product, on channels_last maps without a copy.

    The weight in the kernel's order is kept in the non-persistent buffer ``packed``. Eager calls pack again when
    the weight's storage, shape or version changed; ``load_state_dict``, ``to`` and the like, ``train()``,
    ``eval()`` and unpickling always do. Writes through ``weight.data`` cannot be seen: call ``repack()``
    after them. Calls that need the gradient of the weight pack on the fly. Under ``torch.compile`` and
    ``torch.export`` in eval mode the graph reads ``packed`` as it is: after writing to the weight call
    ``repack()``.

    A call that the kernel does not cover (device, dtype, layout, no compiled kernel, GREENKERNELS_DISABLE=1)
    runs torch's own convolution on the same weight, is counted in ``fallbacks`` and logged once.

    Args:
        levels: Of Strassen's algorithm, 0 to 3, which pay where pixels and both numbers of channels are 2048 or more;
            see ``greenkernels.ops.strassen_gemm`` for the error.
        activation: Applied last; a name of ``greenkernels.ops.direct_conv2d`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01, a constant) or "prelu" (default 0.25, a float
            or a tensor with 1 or ``out_channels`` elements, learned: the only addition to the keys of the
            stock ``state_dict``).
        strict: Whether to raise a RuntimeError instead of falling back.

    The other arguments are those of ``nn.Conv2d``; values that the kernel does not have raise a ValueError.

    Attributes:
        fallbacks: Reason -> number of calls that ran torch's convolution for it.
    """

    stem = "strassen_conv2d"
    needed: ClassVar[dict[str, Any]] = {
        "kernel_size": _ONE,
        "stride": _ONE,
        "padding": (0, 0),
        "groups": 1,
        "transposed": False,
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 1,
        *arguments: Any,
        levels: int = 0,
        **options: Any,
    ) -> None:
        if not isinstance(levels, int) or not 0 <= levels <= MAX_LEVELS:
            raise ValueError(f"levels must be 0 to {MAX_LEVELS}, got {levels!r}")
        super().__init__(in_channels, out_channels, kernel_size, *arguments, **options)
        self.levels = levels

    def _run(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        return conv(input, weight, bias, self.levels, *epilogue)

    def _run_packed(
        self, input: Tensor, packed: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        return packed_conv(input, packed, bias, self.out_channels, self.levels, *epilogue)

    def _pack(self, weight: Tensor) -> Tensor | None:
        return pack(weight, self.levels) if self._can_pack(weight) else None

    def counts(self, *input_shapes: Sequence[int]) -> "Counts":
        """Work of the kernel in a call on an input, and a ``skip``, of these shapes; see `greenkernels.energy`."""
        from ..energy.kernels.strassen_conv2d import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)

    def _is_plain_call(self, input: Tensor, weight: Tensor | None) -> bool:
        return (
            super()._is_plain_call(input, weight)
            and self.stride == _ONE
            and self.padding == (0, 0)
            and self.groups == 1
        )

    def _repr_of_options(self) -> list[str]:
        return [f"levels={self.levels}"] if self.levels else []
