"""DirectConv2d: nn.Conv2d of any filter, stride, padding, dilation and groups, on the direct_conv2d kernels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ..ops.direct_conv2d_op import conv, pack, packed_conv
from .fused_conv2d import FusedConv2d

if TYPE_CHECKING:
    from ..energy.counts import Counts


class DirectConv2d(FusedConv2d):
    """Drop-in for ``nn.Conv2d`` of any filter, stride, padding, dilation and groups.

    ``forward(input, skip=None, skip_scale=1.0)`` computes ``activation(conv(input) + skip_scale * skip)``
    as ``greenkernels.ops.direct_conv2d`` does.

    The weight in the kernel's order is kept in the non-persistent buffer ``packed``. Eager calls pack again when
    the weight's storage, shape or version changed; ``load_state_dict``, ``to`` and the like, ``train()``,
    ``eval()`` and unpickling always do. Writes through ``weight.data`` cannot be seen: call ``repack()``
    after them. Calls that need the gradient of the weight pack on the fly. Under ``torch.compile`` and
    ``torch.export`` in eval mode the graph reads ``packed`` as it is: after writing to the weight call
    ``repack()``.

    A call that the kernel does not cover (device, dtype, layout, no compiled kernel, GREENKERNELS_DISABLE=1)
    runs torch's own convolution on the same weight, is counted in ``fallbacks`` and logged once.

    Args:
        activation: Applied last; a name of ``greenkernels.ops.direct_conv2d`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01, a constant) or "prelu" (default 0.25, a float
            or a tensor with 1 or ``out_channels`` elements, learned: the only addition to the keys of the
            stock ``state_dict``).
        strict: Whether to raise a RuntimeError instead of falling back.

    The other arguments are those of ``nn.Conv2d``; values that the kernel does not have raise a ValueError.

    Attributes:
        fallbacks: Reason -> number of calls that ran torch's convolution for it.
    """

    stem = "direct_conv2d"
    needed: ClassVar[dict[str, Any]] = {"transposed": False}

    def _geometry(self, padding: Any) -> tuple[Any, ...]:
        return self.stride, padding, self.dilation, self.groups

    def _run(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        return conv(input, weight, bias, *self._geometry(padding), *epilogue)

    def _run_packed(
        self, input: Tensor, packed: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        shape = (self.out_channels, self.kernel_size)
        return packed_conv(input, packed, bias, *shape, *self._geometry(padding), *epilogue)

    def _pack(self, weight: Tensor) -> Tensor | None:
        return pack(weight, self.groups) if self._can_pack(weight) else None

    def counts(self, *input_shapes: Sequence[int]) -> "Counts":
        """Work of the kernel in a call on an input, and a ``skip``, of these shapes; see `greenkernels.energy`."""
        from ..energy.kernels.direct_conv2d import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)
