"""winograd_conv2d as ops of torch: schemas, plain torch, fake kernels.

The contract is ``csrc/api/winograd_conv2d.h``. Gradients and autocast: ``winograd_conv2d_grad.py``.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _library, winograd_transforms
from . import activation as activations
from .maps import empty_like_format, with_format
from .winograd_conv2d_checks import check_conv, check_out, check_pack, check_packed, compute_dtype, out_shape

_CONV, _PACKED, _PACK = "winograd_conv2d", "winograd_conv2d_packed", "winograd_conv2d_pack"

_OPTIONS = (
    "SymInt[2] padding, int tile, str? activation, Tensor? activation_param, Tensor? skip, float skip_scale"
)
for _op, _weight in (
    (_CONV, "Tensor weight, Tensor? bias"),
    (_PACKED, "Tensor packed, Tensor? bias, SymInt out_channels"),
):
    _library.define(f"{_op}(Tensor input, {_weight}, {_OPTIONS}) -> Tensor")
    _library.define(f"{_op}.out(Tensor input, {_weight}, {_OPTIONS}, *, Tensor(a!) out) -> ()")
_library.define(f"{_PACK}(Tensor weight, int tile) -> Tensor")
_library.define(
    f"{_PACK.replace('pack', 'unpack')}(Tensor packed, SymInt out_channels, SymInt in_channels, int tile) -> Tensor"
)

# Bound once: a lookup through torch.ops costs a call more than 1 us.
conv = torch.ops.greenkernels.winograd_conv2d.default
conv_out = torch.ops.greenkernels.winograd_conv2d.out
packed_conv = torch.ops.greenkernels.winograd_conv2d_packed.default
packed_conv_out = torch.ops.greenkernels.winograd_conv2d_packed.out
pack = torch.ops.greenkernels.winograd_conv2d_pack.default
unpack = torch.ops.greenkernels.winograd_conv2d_unpack.default


# The arguments after bias and, for packed, out_channels: padding, tile, activation, activation_param, skip,
# skip_scale.
_Options = tuple[Sequence[int], int, str | None, Tensor | None, Tensor | None, float]


# Plain torch: what runs where no kernel is compiled, and on other devices.


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None, options: _Options) -> Tensor:
    """The formula of the contract in the type a kernel computes in, then with the dtype and format a kernel returns."""
    padding, _, activation, param, skip, skip_scale = options
    dtype = compute_dtype(x)
    if 0 in (*x.shape, *weight.shape):  # torch refuses some of these: the sum over no terms is 0
        out = torch.zeros(out_shape(x, weight.shape[0], padding), dtype=dtype, device=x.device)
    else:
        out = F.conv2d(x.to(dtype), weight.to(dtype).contiguous(), padding=padding)
    if bias is not None:
        out = out + bias.to(dtype).view(1, -1, 1, 1)
    if skip is not None:
        out = out + skip.to(dtype) * skip_scale
    return with_format(activations.apply(activation, out, param), x)


def conv_plain(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
    """winograd_conv2d in torch's own ops, every one of them differentiable in every mode."""
    check_conv(_CONV, x, weight, bias, *options)
    return _plain(x, weight, bias, options)


def packed_plain(x: Tensor, packed: Tensor, bias: Tensor | None, out_channels: int, *options: Any) -> Tensor:
    """winograd_conv2d_packed in torch's own ops."""
    check_packed(_PACKED, x, packed, bias, out_channels, *options)
    return _plain(x, winograd_transforms.unpack(packed, out_channels, x.shape[1], options[1]), bias, options)


def _conv(x: Tensor, *args: Any) -> Tensor:
    return conv(x, *args) if _library.compiled(_CONV, x) else conv_plain(x, *args)


def _packed(x: Tensor, *args: Any) -> Tensor:
    return packed_conv(x, *args) if _library.compiled(_PACKED, x) else packed_plain(x, *args)


def _pack(weight: Tensor, tile: int) -> Tensor:
    if _library.compiled(_PACK, weight):
        return pack(weight, tile)
    check_pack(_PACK, weight, tile)
    return winograd_transforms.pack(weight, tile)


def _conv_out(x: Tensor, *args: Any, out: Tensor) -> None:
    if _library.compiled(_CONV, x):
        return conv_out(x, *args, out=out)
    result = conv_plain(x, *args)
    check_out(_CONV, x, out, result.shape)
    out.copy_(result)


def _packed_out(x: Tensor, *args: Any, out: Tensor) -> None:
    if _library.compiled(_PACKED, x):
        return packed_conv_out(x, *args, out=out)
    result = packed_plain(x, *args)
    check_out(_PACKED, x, out, result.shape)
    out.copy_(result)


# Fake kernels: shapes and strides only, for torch.compile and torch.export.


def _conv_fake(x: Tensor, *args: Any) -> Tensor:
    return empty_like_format(x, check_conv(_CONV, x, *args))


def _packed_fake(x: Tensor, *args: Any) -> Tensor:
    return empty_like_format(x, check_packed(_PACKED, x, *args))


def _pack_fake(weight: Tensor, tile: int) -> Tensor:
    check_pack(_PACK, weight, tile)
    size = winograd_transforms.packed_size(weight.shape[0], weight.shape[1], tile)
    return torch.empty(size, dtype=compute_dtype(weight), device=weight.device)


def _conv_out_fake(x: Tensor, *args: Any, out: Tensor) -> None:
    check_out(_CONV, x, out, check_conv(_CONV, x, *args))


def _packed_out_fake(x: Tensor, *args: Any, out: Tensor) -> None:
    check_out(_PACKED, x, out, check_packed(_PACKED, x, *args))


for _name, _plain_kernel, _fake_kernel in (
    (_CONV, _conv, _conv_fake),
    (_PACKED, _packed, _packed_fake),
    (_PACK, _pack, _pack_fake),
    (f"{_CONV}.out", _conv_out, _conv_out_fake),
    (f"{_PACKED}.out", _packed_out, _packed_out_fake),
):
    _library.register_plain(_name, _plain_kernel)
    torch.library.register_fake(f"greenkernels::{_name}", _fake_kernel)
_library.LIBRARY.impl("winograd_conv2d_unpack", winograd_transforms.unpack, "CompositeImplicitAutograd")
