"""separable_conv2d as an op of torch, with packed weights. The contract is ``csrc/api/separable_conv2d.h``.

In plain torch, and where a gradient is asked for, it is the chain of the ops of direct_conv2d and depthwise_conv2d.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _library, depthwise_packing, direct_packing
from . import activation as activations
from . import depthwise_conv2d_op as depthwise_op
from . import direct_conv2d_op as direct_op
from .conv2d_checks import (
    Shape,
    check_input,
    check_pair,
    check_skip,
    check_tensor,
    dtype_name,
    fail,
)
from .direct_conv2d_checks import check_sizes, out_size
from .maps import empty_like_format

_OP = "separable_conv2d_packed"
_LIMIT = 1 << 31

_library.define(
    f"{_OP}(Tensor input, Tensor? expand, Tensor? expand_bias, Tensor depthwise, Tensor? depthwise_bias, "
    "Tensor project, Tensor? project_bias, SymInt hidden_channels, SymInt out_channels, SymInt[2] kernel_size, "
    "SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, str? expand_activation, str? depthwise_activation, "
    "str? activation, Tensor? skip, float skip_scale) -> Tensor"
)
packed_conv = torch.ops.greenkernels.separable_conv2d_packed.default


class Call(NamedTuple):
    """The arguments of the op behind ``input``."""

    expand: Tensor | None
    expand_bias: Tensor | None
    depthwise: Tensor
    depthwise_bias: Tensor | None
    project: Tensor
    project_bias: Tensor | None
    hidden_channels: int
    out_channels: int
    kernel_size: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    expand_activation: str | None
    depthwise_activation: str | None
    activation: str | None
    skip: Tensor | None
    skip_scale: float


def _check_layer(x: Tensor, name: str, packed: Tensor, size: int, bias: Tensor | None, channels: int) -> None:
    check_tensor(_OP, name, packed, 1, x)
    if packed.numel() != size or not packed.is_contiguous():
        fail(_OP, f"{name} must have {size} packed elements, got {packed.numel()}")
    if bias is None:
        return
    check_tensor(_OP, f"{name}_bias", bias, 1, x)
    if bias.shape[0] != channels:
        fail(_OP, f"{name}_bias must have {channels} elements, got {bias.shape[0]}")


def _check_activation(name: str, given: str | None) -> None:
    if given is not None and (given not in activations.NAMES or given in activations.WITH_PARAM):
        fail(_OP, f"{name} must be None or an activation without a parameter, got {given}")


def _check_geometry(x: Tensor, call: Call) -> tuple[int, int]:
    check_pair(_OP, "kernel_size", call.kernel_size, 1)
    check_pair(_OP, "stride", call.stride, 1)
    check_pair(_OP, "padding", call.padding, 0)
    check_pair(_OP, "dilation", call.dilation, 1)
    extent = [call.dilation[d] * (call.kernel_size[d] - 1) + 1 for d in (0, 1)]
    check_sizes(_OP, x, extent, call.padding)
    h, w = (out_size(x.shape[2 + d], call.padding[d], extent[d], call.stride[d]) for d in (0, 1))
    return h, w


def check_call(x: Tensor, call: Call) -> Shape:
    """The checks of ``csrc/ops/separable_conv2d.cpp`` in the same order and words; returns the shape of the output."""
    check_input(_OP, x)
    if x.dtype != torch.float32:
        fail(_OP, f"input must be float32, got {dtype_name(x.dtype)}")
    in_c, hidden, out_c = x.shape[1], call.hidden_channels, call.out_channels
    for name, value in (("hidden_channels", hidden), ("out_channels", out_c)):
        if not 0 <= value < _LIMIT:
            fail(_OP, f"{name} must be in [0, 2^31), got {value}")
    if call.expand is None and hidden != in_c:
        fail(_OP, f"hidden_channels must be those of input, {in_c}, without expand, got {hidden}")
    h, w = _check_geometry(x, call)
    if call.expand is not None:
        size = direct_packing.packed_size(hidden, in_c, (1, 1), 1)
        _check_layer(x, "expand", call.expand, size, call.expand_bias, hidden)
    size = depthwise_packing.packed_size(hidden, call.kernel_size)
    _check_layer(x, "depthwise", call.depthwise, size, call.depthwise_bias, hidden)
    size = direct_packing.packed_size(out_c, hidden, (1, 1), 1)
    _check_layer(x, "project", call.project, size, call.project_bias, out_c)
    shape = x.shape[0], out_c, h, w
    check_skip(_OP, x, call.skip, shape)
    for name in ("expand_activation", "depthwise_activation", "activation"):
        _check_activation(name, getattr(call, name))
    return shape


_POINTWISE = ((1, 1), (1, 1), (0, 0), (1, 1), 1)  # kernel_size, stride, padding, dilation, groups


def chain(x: Tensor, *args: Any) -> Tensor:
    """The op as the chain of the ops of its layers, differentiable with respect to all tensors but packed ones."""
    call = Call(*args)
    check_call(x, call)
    if call.expand is not None:
        options = (call.hidden_channels, *_POINTWISE, call.expand_activation, None, None, 1.0)
        x = direct_op.packed_conv(x, call.expand, call.expand_bias, *options)
    geometry = (call.kernel_size, call.stride, call.padding, call.dilation)
    options = (*geometry, call.depthwise_activation, None, None, 1.0)
    x = depthwise_op.packed_conv(x, call.depthwise, call.depthwise_bias, *options)
    options = (call.out_channels, *_POINTWISE, call.activation, None, call.skip, call.skip_scale)
    return direct_op.packed_conv(x, call.project, call.project_bias, *options)


def _fake(x: Tensor, *args: Any) -> Tensor:
    return empty_like_format(x, check_call(x, Call(*args)))


_library.register(packed_conv, chain, _fake)
_library.register_chain(packed_conv, chain)


_BLOCKS = "separable_conv2d_blocks"
_library.define(f"{_BLOCKS}(Tensor input, Tensor[] tensors, int[] numbers) -> Tensor")
packed_blocks = torch.ops.greenkernels.separable_conv2d_blocks.default

_TENSORS = Call._fields[:6]
_PAIRS = ("kernel_size", "stride", "padding", "dilation")
_DEPTHWISE, _PROJECT, _PROJECT_BIAS = (
    1 << _TENSORS.index(n) for n in ("depthwise", "project", "project_bias")
)
_ADDS = 1 << len(_TENSORS)  # to a block: its input is added before the last activation
_LAYER = 2 * _ADDS  # instead of a block one layer on direct_conv2d
NUMBERS = 6 + 2 * len(_PAIRS)  # of a block or a layer


def listed(call: Call, adds: bool) -> tuple[list[Tensor], list[int]]:
    """A block, whose ``skip`` is its input where it ``adds`` one, as part of the lists of `packed_blocks`.

    Its numbers are bits of the tensors there are, in the order of the arguments of `packed_conv`, and one of ``adds``;
    channels; pairs; activations by their places in ``activation.NAMES``, from 1 on, 0 for none.
    """
    tensors = {1 << i: tensor for i, tensor in enumerate(call[:6]) if tensor is not None}
    kinds = [call.expand_activation, call.depthwise_activation, call.activation]
    channels = (call.hidden_channels, call.out_channels)
    pairs = [value for name in _PAIRS for value in getattr(call, name)]
    return list(tensors.values()), [sum(tensors) + _ADDS * adds, *channels, *pairs, *map(_number, kinds)]


def listed_layer(
    packed: Tensor,
    bias: Tensor | None,
    out_channels: int,
    pairs: Sequence[Sequence[int]],
    groups: int,
    activation: str | None,
) -> tuple[list[Tensor], list[int]]:
    """A layer on direct_conv2d in the same form: ``project`` alone, groups in the place of hidden channels.

    Args:
        pairs: kernel_size, stride, padding, dilation.
    """
    there = _LAYER + _PROJECT + (0 if bias is None else _PROJECT_BIAS)
    numbers = [there, groups, out_channels, *(value for pair in pairs for value in pair)]
    return [packed, *([] if bias is None else [bias])], [*numbers, 0, 0, _number(activation)]


def _number(kind: str | None) -> int:
    return 0 if kind is None else 1 + activations.NAMES.index(kind)


def _kind(number: int) -> str | None:
    if not 0 <= number <= len(activations.NAMES):
        fail(_BLOCKS, f"numbers must name activations in [0, {len(activations.NAMES)}], got {number}")
    return activations.NAMES[number - 1] if number else None


class Part(NamedTuple):
    """A block, whose ``skip`` is its input where it adds one, or a layer, with groups for hidden channels."""

    call: Call
    adds: bool
    is_layer: bool


def parts(tensors: Sequence[Tensor], numbers: Sequence[int]) -> Iterator[Part]:
    """What was listed, one after the other, with the checks of the compiled op in the same words."""
    if len(numbers) == 0 or len(numbers) % NUMBERS:
        fail(_BLOCKS, f"numbers must be {NUMBERS} for each of at least one block, got {len(numbers)}")
    left = list(tensors)
    for first in range(0, len(numbers), NUMBERS):
        there, hidden, out_c, *others = numbers[first : first + NUMBERS]
        needed = _PROJECT if there & _LAYER else _PROJECT + _DEPTHWISE
        most = 2 * _LAYER if there & ~(_LAYER + _PROJECT + _PROJECT_BIAS) == 0 else _LAYER
        if not 0 <= there < most or there & needed != needed:
            fail(_BLOCKS, f"numbers must name the tensors of a block or a layer, got {there}")
        if (there % _ADDS).bit_count() > len(left):
            fail(_BLOCKS, f"tensors must be those that numbers name, got {len(tensors)}")
        own = [left.pop(0) if there >> i & 1 else None for i in range(len(_TENSORS))]
        pairs, kinds = [others[i : i + 2] for i in range(0, 8, 2)], [_kind(number) for number in others[8:]]
        call = Call(*own, hidden, out_c, *pairs, *kinds, None, 1.0)
        yield Part(call, bool(there & _ADDS), bool(there & _LAYER))
    if left:
        fail(_BLOCKS, f"tensors must be those that numbers name, got {len(tensors)}")


def _blocks(x: Tensor, tensors: Sequence[Tensor], numbers: Sequence[int]) -> Tensor:
    """The op as calls of those of its blocks and layers."""
    for call, adds, is_layer in parts(tensors, numbers):
        pairs = (call.kernel_size, call.stride, call.padding, call.dilation)
        if is_layer:
            options = (call.out_channels, *pairs, call.hidden_channels, call.activation, None, None, 1.0)
            x = direct_op.packed_conv(x, call.project, call.project_bias, *options)
        else:
            x = packed_conv(x, *call._replace(skip=x if adds else None))
    return x


_library.register(packed_blocks, _blocks, _blocks)
_library.register_chain(packed_blocks, _blocks)
