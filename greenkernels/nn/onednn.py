"""torch's own convolution on a weight in oneDNN's order, with what follows it in the same pass.

These are the ops that torch.compile takes for frozen weights; a torch without them keeps the plain convolution.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..ops import activation as activations

# Name of an activation -> oneDNN's, with its constants and its variant.
_UNARY: dict[str | None, tuple[str, list[float], str]] = {
    None: ("none", [], ""),
    "relu": ("relu", [], ""),
    "relu6": ("hardtanh", [0.0, 6.0], ""),
    "silu": ("swish", [], ""),
    "gelu": ("gelu", [], "none"),
    "sigmoid": ("sigmoid", [], ""),
    "tanh": ("tanh", [], ""),
    "hardswish": ("hardswish", [], ""),
    "hardsigmoid": ("hardsigmoid", [], ""),
}


def _has_ops() -> bool:
    try:
        return bool(
            torch.backends.mkldnn.is_available()
            and torch.ops.mkldnn._reorder_convolution_weight
            and torch.ops.mkldnn._convolution_pointwise.binary
        )
    except (AttributeError, RuntimeError):
        return False


_THERE = _has_ops()


def takes(input: Tensor, activation: str | None, skip: Tensor | None, skip_scale: float) -> bool:
    """Whether `convolve` covers the call: eager, without gradients, float32 maps in channels_last."""
    return (
        _THERE
        and not torch.compiler.is_compiling()
        and type(input) is Tensor
        and input.dtype is torch.float32
        and input.is_cpu
        and input.dim() == 4
        and input.numel() > 0
        and input.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_grad_enabled()
        and activation in _UNARY
        and (skip is None or (skip_scale == 1.0 and type(skip) is Tensor and skip.dtype is torch.float32))
        and torch._C._get_mkldnn_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def reorder(weight: Tensor, input: Tensor, geometry: Sequence[Any]) -> Tensor:
    """The weight in the order that suits inputs of this shape; `geometry` is stride, padding, dilation and groups."""
    stride, padding, dilation, groups = geometry
    with torch.inference_mode(False), torch.no_grad():
        return torch.ops.mkldnn._reorder_convolution_weight(
            weight, padding, stride, dilation, groups, list(input.shape)
        )


def convolve(
    input: Tensor,
    reordered: Tensor,
    bias: Tensor | None,
    geometry: Sequence[Any],
    activation: str | None,
    skip: Tensor | None,
) -> Tensor:
    """``activation(conv(input) + bias + skip)``; what `takes` says is assumed."""
    stride, padding, dilation, groups = geometry
    place = (padding, stride, dilation, groups)
    conv = torch.ops.mkldnn._convolution_pointwise
    if skip is None:
        return conv(input, reordered, bias, *place, *_UNARY[activation])
    unary = "relu" if activation == "relu" else None
    out = conv.binary(input, skip, reordered, bias, *place, "add", 1.0, unary, [], None)
    return out if unary else activations.apply(activation, out, None)
