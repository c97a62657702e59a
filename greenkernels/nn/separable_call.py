"""RunsInOneCall: three layers as one call of the separable_conv2d kernel, or one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor, nn

from ..ops import _library
from ..ops.separable_conv2d_op import packed_conv
from .depthwise_conv2d import DepthwiseConv2d
from .direct_conv2d import DirectConv2d
from .packing import can_track

Layers = tuple[DirectConv2d | None, DepthwiseConv2d, DirectConv2d]


class Kept:
    """Arguments of an op, and all that they were made from.

    Looked at between kernels that go through all of L2: nearly every object that `holds` touches is a miss, so it
    touches few, and those of a kind one after the other.
    """

    def __init__(self, arguments: tuple[Any, ...], convs: Sequence[Any]) -> None:
        self.arguments = arguments
        self._norms = [norm for conv in convs for norm in conv._norm]
        places = [own for module in (*convs, *self._norms) for own in (module._parameters, module._buffers)]
        self._views = [own.values() for own in places]
        self._values = list(chain.from_iterable(self._views))
        # Not what is made here. The count of batches too: torch counts no writes of a forward in training mode to the
        # running statistics.
        made = {id(conv._buffers[name]) for conv in convs for name in ("packed", "folded_bias")}
        tracked = [t for t in self._values if t is not None and id(t) not in made and can_track(t)]
        self._tracked, self._versions = tracked, [tensor._version for tensor in tracked]
        self._weights = [(conv._parameters["weight"], conv._packed_from) for conv in convs]
        self._activations = [(conv.__dict__, conv.activation) for conv in convs]

    def holds(self) -> bool:
        """Whether everything is as it was, as far as torch counts writes."""
        if list(map(_version, self._tracked)) != self._versions:
            return False
        values = list(chain.from_iterable(self._views))
        return (
            len(values) == len(self._values)
            and all(map(is_, values, self._values))
            and all([was is not None and was.is_state_of(weight) for weight, was in self._weights])
            and all([own["activation"] is kind for own, kind in self._activations])
            and not any([norm.training for norm in self._norms])
        )


_version = attrgetter("_version")


def takes(input: Tensor, in_channels: int) -> bool:
    """Whether the fused kernels take a map with so many channels."""
    return (
        type(input) is Tensor
        and input.dtype is torch.float32
        and input.dim() == 4
        and not torch.is_autocast_enabled("cpu")
        and not _library.DISABLED
        and _library.compiled("separable_conv2d_packed", input)
        and input.size(1) == in_channels
    )


def packed_of(conv: Any) -> tuple[Tensor, Tensor | None] | None:
    """Packed weight and bias of a layer whose batch norm, if any, is folded in; None where it has none."""
    weight = conv._parameters["weight"]
    plain = type(weight) is nn.Parameter and weight.dtype == torch.float32
    packed = conv.fresh_packed(weight) if plain else None
    if packed is None or any(norm.training for norm in conv._norm):
        return None
    return packed, conv._buffers["folded_bias"] if conv._norm else conv._parameters["bias"]


class RunsInOneCall:
    """What modules share whose kernel computes a 1x1 convolution or none, a depthwise one and a 1x1 one.

    A subclass defines ``_layers()``, and puts ``_kept`` to None in the state that is pickled.
    """

    _kept: Kept | None = None

    def _layers(self) -> Layers:
        raise NotImplementedError

    def _convs(self) -> list[DirectConv2d | DepthwiseConv2d]:
        return [conv for conv in self._layers() if conv is not None]

    def _run_block(self, input: Tensor, skip: Tensor | None) -> Tensor:
        if not torch.compiler.is_compiling() and self.is_one_call(input):
            arguments = self.packed_arguments()
            if arguments is not None:
                return packed_conv(input, *arguments, skip, 1.0)
        expand, depthwise, project = self._layers()
        out = input if expand is None else expand(input, fused=True)
        return project(depthwise(out, fused=True), skip, fused=True)

    def is_one_call(self, input: Tensor) -> bool:
        """Whether the fused kernel takes this call, as far as the input tells."""
        trains = torch.is_grad_enabled() and self._needs_grad(input)
        return not trains and takes(input, self._in_channels())

    def _in_channels(self) -> int:
        expand, depthwise, _ = self._layers()
        return (depthwise if expand is None else expand).in_channels

    def _needs_grad(self, input: Tensor) -> bool:
        parts = [part for conv in self._convs() for part in (conv, *conv._norm)]
        return input.requires_grad or any(p.requires_grad for part in parts for p in part.parameters())

    def packed_arguments(self) -> tuple[Any, ...] | None:
        """What ``separable_conv2d_packed`` takes between input and skip; None where a layer is not covered by it.

        Kept from call to call, since to look at three modules takes as long as a small layer, while every layer's
        weight, bias, batch norm and activation are what they were.
        """
        if self._kept is None or not self._kept.holds():
            arguments = self._look_up_arguments()
            self._kept = None if arguments is None else Kept(arguments, self._convs())
            return arguments
        return self._kept.arguments

    def _look_up_arguments(self) -> tuple[Any, ...] | None:
        expand, depthwise, project = self._layers()
        if type(depthwise.padding) is not tuple or depthwise.padding_mode != "zeros":
            return None
        tensors = [None, None]
        for conv in self._convs():
            packed_bias = packed_of(conv)
            if packed_bias is None:
                return None
            tensors += packed_bias
        geometry = (depthwise.kernel_size, depthwise.stride, depthwise.padding, depthwise.dilation)
        names = (None if expand is None else expand.activation, depthwise.activation, project.activation)
        return *tensors[-6:], depthwise.in_channels, project.out_channels, *geometry, *names
