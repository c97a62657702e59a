"""RunsInOneCall: three layers as one call of the separable_conv2d kernel, or one after the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..ops import _library
from ..ops.separable_conv2d_op import packed_conv
from .depthwise_conv2d import DepthwiseConv2d
from .direct_conv2d import DirectConv2d
from .folding import version_of

Layers = tuple[DirectConv2d | None, DepthwiseConv2d, DirectConv2d]


class RunsInOneCall:
    """What modules share whose kernel computes a 1x1 convolution or none, a depthwise one and a 1x1 one.

    A subclass defines ``_layers()``, and puts ``_kept`` to None in the state that is pickled.
    """

    _kept: tuple[list[tuple[Any, ...]], tuple[Any, ...]] | None = None  # states of the layers, arguments

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
        if _library.DISABLED or not _library.compiled("separable_conv2d_packed", input):
            return False
        expand, depthwise, _ = self._layers()
        return (
            type(input) is Tensor
            and input.dtype is torch.float32
            and input.dim() == 4
            and input.size(1) == (expand or depthwise).in_channels
            and not (torch.is_grad_enabled() and self._needs_grad(input))
            and not torch.is_autocast_enabled("cpu")
        )

    def _needs_grad(self, input: Tensor) -> bool:
        parts = [part for conv in self._convs() for part in (conv, *conv._norm)]
        return input.requires_grad or any(p.requires_grad for part in parts for p in part.parameters())

    def packed_arguments(self) -> tuple[Any, ...] | None:
        """What ``separable_conv2d_packed`` takes between input and skip; None where a layer is not covered by it.

        Kept from call to call, since to look at three modules takes as long as a small layer, while every layer's
        weight, bias, batch norm and activation are what they were.
        """
        if self._kept is not None:
            states, arguments = self._kept
            for conv, weight_state, bias, activation, norm in states:
                parameters = conv._parameters
                if (
                    parameters["bias"] is not bias
                    or conv.__dict__["activation"] is not activation
                    or conv._packed_from is not weight_state
                    or not weight_state.is_state_of(parameters["weight"])
                    or (norm is not None and version_of(norm) != conv._norm_version)
                ):
                    break
            else:
                return arguments
        arguments = self._look_up_arguments()
        states = [
            (c, c._packed_from, c._parameters["bias"], c.activation, next(iter(c._norm), None))
            for c in self._convs()
        ]
        self._kept = None if arguments is None else (states, arguments)
        return arguments

    def _look_up_arguments(self) -> tuple[Any, ...] | None:
        expand, depthwise, project = self._layers()
        if type(depthwise.padding) is not tuple or depthwise.padding_mode != "zeros":
            return None
        tensors = [None, None]
        for conv in self._convs():
            weight = conv._parameters["weight"]
            plain = type(weight) is nn.Parameter and weight.dtype == torch.float32
            packed = conv.fresh_packed(weight) if plain else None
            if packed is None or any(norm.training for norm in conv._norm):
                return None
            tensors += [packed, conv._buffers["folded_bias"] if conv._norm else conv._parameters["bias"]]
        geometry = (depthwise.kernel_size, depthwise.stride, depthwise.padding, depthwise.dilation)
        names = (None if expand is None else expand.activation, depthwise.activation, project.activation)
        return *tensors[-6:], depthwise.in_channels, project.out_channels, *geometry, *names
