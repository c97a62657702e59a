"""int8_conv2d as ops of torch. The contract is ``csrc/api/int8_conv2d.h``."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _library, int8_packing
from . import activation as activations
from .int8_conv2d_checks import (
    Options,
    check_filter,
    check_options,
    check_packed,
    check_plain,
    check_zero_points,
    out_dtype,
)
from .int8_gemm_checks import INTEGERS
from .int8_gemm_op import find_quantizer, quantize
from .maps import suggested_format

CONV, PACKED, PACK = "int8_conv2d", "int8_conv2d_packed", "int8_conv2d_pack"
_OPTIONS = (
    "Tensor? input_scale, Tensor? weight_scale, Tensor? input_zero_point, Tensor? bias, SymInt[2] stride, "
    "SymInt[2] padding, SymInt[2] dilation, int groups, str? activation, Tensor? activation_param, Tensor? skip, "
    "float skip_scale, float? out_scale, int out_zero_point"
)
_library.define(f"{CONV}(Tensor input, Tensor weight, {_OPTIONS}) -> Tensor")
_library.define(
    f"{PACKED}(Tensor input, Tensor packed, SymInt out_channels, SymInt[2] kernel_size, {_OPTIONS}) -> Tensor"
)
_library.define(f"{PACK}(Tensor weight, int groups) -> Tensor")
_library.define(
    "int8_conv2d_unpack(Tensor packed, SymInt out_channels, SymInt group_in_channels, SymInt[2] kernel_size, "
    "int groups) -> Tensor"
)

conv = torch.ops.greenkernels.int8_conv2d.default
packed_conv = torch.ops.greenkernels.int8_conv2d_packed.default
pack, unpack = (
    torch.ops.greenkernels.int8_conv2d_pack.default,
    torch.ops.greenkernels.int8_conv2d_unpack.default,
)


# Plain torch: what runs where no kernel is compiled, and on other devices.


def _quantized(op: str, x: Tensor, options: Options) -> tuple[Tensor, Tensor, Tensor | None]:
    """Quantized images, their zero points and their scales, ``[batch]`` or ``[1]``."""
    check_zero_points(op, x, options.input_zero_point)
    zero = options.input_zero_point
    zero = torch.zeros(1, device=x.device) if zero is None else zero.float()
    if x.dtype in INTEGERS:
        return x, zero, options.input_scale
    rows, scale = x.float().flatten(1), options.input_scale
    if scale is None:
        scale, zero = find_quantizer(rows)
    return quantize(rows, scale, zero).reshape(x.shape), zero, scale


def _by_image(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)


def _empty(x: Tensor, shape: Sequence[int], options: Options) -> Tensor:
    """The output: its dtype, and the memory format that torch's convolution would choose, or that of 8-bit maps."""
    form = suggested_format(x) if options.out_scale is None else torch.channels_last
    return torch.empty(shape, dtype=out_dtype(x, options), device=x.device, memory_format=form)


def _plain(op: str, x: Tensor, weight: Tensor, options: Options) -> Tensor:
    """The formula of the contract; sums in float64, in which they are exact."""
    shape = check_options(op, x, weight.shape[0], weight.shape[2:], options)
    q, zero, scale = _quantized(op, x, options)
    if 0 in (*shape, *q.shape, weight.shape[1]):
        out = torch.zeros(shape, dtype=torch.float64, device=x.device)
    else:
        geometry = (options.stride, options.padding, options.dilation, options.groups)
        out = F.conv2d(q.double() - _by_image(zero).double(), weight.double(), None, *geometry)
    if options.weight_scale is not None:
        out = out.float() * (_by_image(scale) * options.weight_scale.reshape(1, -1, 1, 1))
        if options.bias is not None:
            out = out + options.bias.reshape(1, -1, 1, 1)
        if options.skip is not None:
            out = out + options.skip_scale * options.skip.float()
        out = activations.apply(options.activation, out, options.activation_param)
    if options.out_scale is not None:
        step = torch.full((1,), options.out_scale, device=x.device)
        out = quantize(out, step, torch.full_like(step, options.out_zero_point))
    return _empty(x, shape, options).copy_(out)


def conv_plain(x: Tensor, weight: Tensor, *args: Any) -> Tensor:
    """The op in torch's own ops."""
    options = Options(*args)
    check_plain(CONV, x, weight, options)
    return _plain(CONV, x, weight, options)


def packed_plain(
    x: Tensor, packed: Tensor, out_channels: int, kernel_size: Sequence[int], *args: Any
) -> Tensor:
    """The packed variant in torch's own ops."""
    options = Options(*args)
    check_packed(PACKED, x, packed, out_channels, kernel_size, options)
    group_in_c = x.shape[1] // options.groups
    weight = int8_packing.unpack_filter(packed, out_channels, group_in_c, kernel_size, options.groups)
    return _plain(PACKED, x, weight, options)


def _pack_plain(weight: Tensor, groups: int) -> Tensor:
    check_filter(PACK, weight, groups)
    return int8_packing.pack_filter(weight, groups)


# Fake kernels: shapes only, for torch.compile and torch.export.


def _conv_fake(x: Tensor, weight: Tensor, *args: Any) -> Tensor:
    options = Options(*args)
    check_plain(CONV, x, weight, options)
    return _empty(x, check_options(CONV, x, weight.shape[0], weight.shape[2:], options), options)


def _packed_fake(
    x: Tensor, packed: Tensor, out_channels: int, kernel_size: Sequence[int], *args: Any
) -> Tensor:
    options = Options(*args)
    check_packed(PACKED, x, packed, out_channels, kernel_size, options)
    return _empty(x, check_options(PACKED, x, out_channels, kernel_size, options), options)


def _pack_fake(weight: Tensor, groups: int) -> Tensor:
    check_filter(PACK, weight, groups)
    return weight.new_empty(int8_packing.packed_filter_bytes(*weight.shape[:2], weight.shape[2:], groups))


_library.register(conv, conv_plain, _conv_fake)
_library.register(packed_conv, packed_plain, _packed_fake)
_library.register(pack, _pack_plain, _pack_fake)
_library.LIBRARY.impl("int8_conv2d_unpack", int8_packing.unpack_filter, "CompositeImplicitAutograd")
for _overload in (conv, packed_conv):
    _library.register_refusal(_overload)
    _library.register_autocast(_overload, (0,))  # scales, bias and slopes stay float32
