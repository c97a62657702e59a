"""winograd_conv2d: 3x3 convolution by Winograd's F(m x m, 3 x 3). Schemas, plain torch, fake kernels, typed functions.

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

_OPTIONS = "SymInt[2] padding, int tile, str? activation, Tensor? activation_param, Tensor? skip, float skip_scale"
for _op, _weight in ((_CONV, "Tensor weight, Tensor? bias"), (_PACKED, "Tensor packed, Tensor? bias, SymInt out_channels")):
    _library.define(f"{_op}(Tensor input, {_weight}, {_OPTIONS}) -> Tensor")
    _library.define(f"{_op}.out(Tensor input, {_weight}, {_OPTIONS}, *, Tensor(a!) out) -> ()")
_library.define(f"{_PACK}(Tensor weight, int tile) -> Tensor")
_library.define(f"{_PACK.replace('pack', 'unpack')}(Tensor packed, SymInt out_channels, SymInt in_channels, int tile) -> Tensor")

# Bound once: a lookup through torch.ops costs a call more than 1 us.
conv = torch.ops.greenkernels.winograd_conv2d.default
conv_out = torch.ops.greenkernels.winograd_conv2d.out
packed_conv = torch.ops.greenkernels.winograd_conv2d_packed.default
packed_conv_out = torch.ops.greenkernels.winograd_conv2d_packed.out
pack = torch.ops.greenkernels.winograd_conv2d_pack.default
unpack = torch.ops.greenkernels.winograd_conv2d_unpack.default


# The arguments after bias and, for packed, out_channels: padding, tile, activation, activation_param, skip, skip_scale.
_Options = tuple[Sequence[int], int, str | None, Tensor | None, Tensor | None, float]


# Plain torch: what runs where no kernel is compiled, and on other devices.


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None, options: _Options) -> Tensor:
    """The formula of the contract in the type a kernel computes in, then with the dtype and format a kernel returns."""
    padding, _, activation, param, skip, skip_scale = options
    dtype = compute_dtype(x)
    if x.numel() == 0:  # torch refuses some of these: the sum over no terms is 0
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


# The functions of greenkernels.ops.


def check_options(tile: int, activation: str | None, activation_param: Tensor | float | None) -> None:
    if tile not in winograd_transforms.TILES:
        raise ValueError(f"tile must be 2, 4 or 6, got {tile!r}")
    if activation is not None and activation not in activations.NAMES:
        raise ValueError(f"activation must be one of None, {', '.join(activations.NAMES)}, got {activation!r}")
    if activation_param is not None and not isinstance(activation_param, (Tensor, float, int)):
        raise TypeError(f"activation_param must be a Tensor, float or None, got {type(activation_param).__name__}")


def _pair(padding: int | Sequence[int]) -> Sequence[int]:
    return padding if isinstance(padding, Sequence) else (padding, padding)


def winograd_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: int | Sequence[int] = 0,
    tile: int = 4,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """3x3 convolution with stride 1 by Winograd's minimal filtering, with bias, skip connection and activation fused.

    ``out = activation(conv2d(input, weight, padding=padding) + bias + skip_scale * skip)``. Each ``tile x tile`` patch of
    the output costs ``(tile + 2)^2`` multiplications a channel instead of ``9 tile^2``; rounding errors grow by about 2, 5
    and 17 for tiles 2, 4 and 6. The weight is transformed on every call: to convolve with one weight many times, see
    ``winograd_conv2d_packed`` or ``greenkernels.nn.WinogradConv2d``.

    Differentiable, also twice, with respect to ``input``, ``weight``, ``bias``, ``activation_param`` and ``skip``, unless
    ``out`` is given. Under autocast all tensors are cast as for ``torch.nn.functional.conv2d``. A NaN or infinity in
    ``input`` reaches all outputs of the tiles that read it, not only the nine that a direct convolution would touch.

    Args:
        input: ``[batch, in_channels, h, w]``, float16, bfloat16 (both computed in float32), float32 or float64; any strides.
        weight: ``[out_channels, in_channels, 3, 3]``, of the dtype of ``input`` like all tensors below.
        bias: ``[out_channels]``.
        padding: Zeros added on each side, ``p`` or ``(p_h, p_w)``, each 0 or more.
        tile: Width of an output tile: 2, 4 or 6.
        activation: None, "relu", "relu6", "leaky_relu", "prelu", "silu", "gelu", "sigmoid", "tanh", "hardswish" or
            "hardsigmoid", each as in ``torch.nn.functional`` with its defaults.
        activation_param: The slope left of zero: a float or 1 element for "leaky_relu", 1 or ``out_channels`` elements for
            "prelu"; None for the others.
        skip: Added before the activation, of the shape of the output.
        skip_scale: Factor of ``skip``.
        out: Tensor to write the result to, of the shape and dtype of the output; may be ``skip`` itself.

    Returns:
        ``[batch, out_channels, h + 2 p_h - 2, w + 2 p_w - 2]`` in the dtype and memory format of ``input``; ``out`` if given.

    Raises:
        ValueError: ``tile`` or ``activation`` is not one of the above.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit together, or ``out`` is given and a gradient is asked for.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
    """
    check_options(tile, activation, activation_param)
    if isinstance(activation_param, (float, int)):
        activation_param = input.new_tensor([activation_param])
    if out is None:
        return conv(input, weight, bias, _pair(padding), tile, activation, activation_param, skip, skip_scale)
    conv_out(input, weight, bias, _pair(padding), tile, activation, activation_param, skip, skip_scale, out=out)
    return out


def winograd_conv2d_packed(
    input: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    *,
    out_channels: int,
    padding: int | Sequence[int] = 0,
    tile: int = 4,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """``winograd_conv2d`` with a weight that ``winograd_conv2d_pack`` transformed before, for inference.

    Differentiable with respect to all tensors but ``packed``. Arguments, result and errors are those of ``winograd_conv2d``
    except for:

    Args:
        packed: What ``winograd_conv2d_pack(weight, tile)`` returned, with the same ``tile``; float64 for float64 ``input``, else
            float32, also for half-precision ``input``.
        out_channels: ``weight.shape[0]``.
    """
    check_options(tile, activation, activation_param)
    if isinstance(activation_param, (float, int)):
        activation_param = input.new_tensor([activation_param])
    if out is None:
        return packed_conv(
            input, packed, bias, out_channels, _pair(padding), tile, activation, activation_param, skip, skip_scale
        )
    packed_conv_out(
        input, packed, bias, out_channels, _pair(padding), tile, activation, activation_param, skip, skip_scale, out=out
    )
    return out


def winograd_conv2d_pack(weight: Tensor, tile: int = 4) -> Tensor:
    """The weight transformed for ``winograd_conv2d_packed``: ``G g G^T`` of each filter, in the order the kernels read it.

    One layout for all instruction sets, so it may be stored and used on another machine. Not differentiable.

    Args:
        weight: ``[out_channels, in_channels, 3, 3]``, float16, bfloat16, float32 or float64; any strides.
        tile: 2, 4 or 6.

    Returns:
        ``[(tile + 2)^2 * in_channels * p]`` with ``p`` the multiple of 16 at or above ``out_channels``; float64 for a float64
        weight, else float32.

    Raises:
        ValueError: ``tile`` is not 2, 4 or 6.
        RuntimeError: ``weight`` is not a floating-point tensor of this shape.
    """
    check_options(tile, None, None)
    return pack(weight, tile)


def winograd_conv2d_unpack(packed: Tensor, out_channels: int, in_channels: int, tile: int = 4) -> Tensor:
    """The weight that ``packed`` was made from, up to about 1 ulp: the least-squares solution of ``G g G^T = U``.

    Args:
        packed: What ``winograd_conv2d_pack`` returned for a weight of these sizes and this ``tile``.
        out_channels: First size of the weight.
        in_channels: Second size of the weight.
        tile: 2, 4 or 6.

    Returns:
        ``[out_channels, in_channels, 3, 3]`` in the dtype of ``packed``.

    Raises:
        ValueError: ``tile`` is not 2, 4 or 6.
        RuntimeError: ``packed`` has another number of elements than these sizes ask for.
    """
    check_options(tile, None, None)
    return unpack(packed, out_channels, in_channels, tile)
