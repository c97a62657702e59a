"""FoldedConv2d: nn.Conv2d on torch's own convolution, with what follows it folded in or applied in place."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import activation as activations
from . import onednn
from .fused_conv2d import FusedConv2d

if TYPE_CHECKING:
    from ..energy.counts import Counts


class FoldedConv2d(FusedConv2d):
    """Drop-in for ``nn.Conv2d`` of any geometry that runs torch's convolution, for layers that no kernel is faster for.

    ``forward(input, skip=None, skip_scale=1.0)`` computes ``activation(norm(conv(input)) + skip_scale * skip)``.
    ``norm`` is what ``follow`` was given, and costs nothing: its scale is in the weight, its shift in the bias. The
    folded weight is kept in the non-persistent buffer ``packed``, which is made again as that of ``DirectConv2d`` is;
    calls in channels_last without gradients keep it in oneDNN's order besides, where this torch has oneDNN.

    Args:
        activation: Applied last; a name of ``greenkernels.ops.direct_conv2d`` or None.
        activation_param: Slope of "leaky_relu" or "prelu", as of ``DirectConv2d``.
        strict: Nothing; the layer has no kernel to fall back from.

    The other arguments are those of ``nn.Conv2d``.
    """

    stem = "folded_conv2d"
    needed: ClassVar[dict[str, Any]] = {"transposed": False}
    _reordered: tuple[Any, Any] = (None, None)  # the packed weight, and the same in oneDNN's order

    def _is_plain_call(self, input: Tensor, weight: Tensor | None) -> bool:
        return (
            type(weight) is nn.Parameter
            and input.dim() == 4
            and type(self.padding) is tuple
            and self.padding_mode == "zeros"
        )

    def _fallback_reason(self, input: Tensor, weight: Tensor) -> str | None:
        return None

    def _run(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        activation, param, skip, skip_scale = epilogue
        out = F.conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        if torch.is_grad_enabled():
            out = out if skip is None else out + skip_scale * skip
            return activations.apply(activation, out, param)
        if skip is not None:
            out.add_(skip, alpha=skip_scale)
        return out.relu_() if activation == "relu" else activations.apply(activation, out, param)

    def _run_packed(
        self, input: Tensor, packed: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        activation, _, skip, skip_scale = epilogue
        if not onednn.takes(input, activation, skip, skip_scale):
            return self._run(input, packed, bias, padding, *epilogue)
        geometry = (self.stride, padding, self.dilation, self.groups)
        made_of, reordered = self._reordered
        if made_of is not packed:
            reordered = onednn.reorder(packed, input, geometry)
            self._reordered = packed, reordered
        return onednn.convolve(input, reordered, bias, geometry, activation, skip)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_reordered": (None, None)}

    def _pack(self, weight: Tensor) -> Tensor:
        return weight.detach()

    def counts(self, *input_shapes: Sequence[int]) -> "Counts":
        """Work of the convolution of an input of this shape, and of a ``skip``; see `greenkernels.energy`."""
        from ..energy.kernels.folded_conv2d import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)
