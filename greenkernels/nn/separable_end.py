"""SeparableEnd: the last layer of a block in a converted network, which computes the whole block in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .depthwise_conv2d import DepthwiseConv2d
from .direct_conv2d import DirectConv2d
from .separable_call import Layers, RunsInOneCall

if TYPE_CHECKING:
    from ..energy.counts import Counts
    from .separable_chain import SeparableChain


class SeparableEnd(RunsInOneCall, DirectConv2d):
    """A 1x1 `DirectConv2d` that also computes the layers before it when it is called with ``block=True``.

    What `SeparableConv2d` is where the layers keep their places in a network: each stays the module, with the entries
    in the ``state_dict``, that it was, and the last one knows the others. Made by `greenkernels.plan`.
    """

    _before: tuple[DirectConv2d | None, DepthwiseConv2d] | None = None  # in a tuple: no submodules
    chain: SeparableChain | None = None  # of blocks, of which this is the last

    def join(self, expand: DirectConv2d | None, depthwise: DepthwiseConv2d) -> SeparableEnd:
        """Names the layers before it, whose batch norms and activations are those that were given to them."""
        self._before, self._kept = (expand, depthwise), None
        return self

    def forward(
        self,
        input: Tensor,
        skip: Tensor | None = None,
        skip_scale: float = 1.0,
        fused: bool | None = None,
        block: bool = False,
    ) -> Tensor:
        """As `DirectConv2d`; with ``block``, of the input of the first layer, the output of the block.

        Args:
            input: ``[batch, in_channels of the first layer, h, w]`` with ``block``.
            skip: Added before the last activation.
            skip_scale: Factor of ``skip``; 1 with ``block``.
            fused: As of `DirectConv2d`, without ``block``.
            block: Whether to compute the whole block.
        """
        if block and self._before is not None:
            return self._run_block(input, skip)
        return super().forward(input, skip, skip_scale, fused)

    def _layers(self) -> Layers:
        assert self._before is not None
        return *self._before, self

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_kept": None}

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of a call with ``block`` on an input, and a ``skip``, of these shapes; see `greenkernels.energy`."""
        from ..energy.kernels.separable_conv2d import count_block  # not needed to run the layer

        return super().counts(*input_shapes) if self._before is None else count_block(self, *input_shapes)
