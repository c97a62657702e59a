"""int8_conv2d: convolution in 8-bit integers with exact sums and a float side, as typed functions.

The contract is ``csrc/api/int8_conv2d.h``; ``int8_conv2d_op.py`` defines the ops these functions call.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .activation import check_activation
from .int8_conv2d_op import conv, pack, packed_conv, unpack

Pair = int | Sequence[int]


def _pair(value: Pair) -> Sequence[int]:
    return value if isinstance(value, Sequence) else (value, value)


def _param(param: Tensor | float | None, x: Tensor) -> Tensor | None:
    if isinstance(param, (float, int)):
        return torch.full((1,), float(param), device=x.device)
    return param


def int8_conv2d(
    input: Tensor,
    weight: Tensor,
    input_scale: Tensor | None = None,
    weight_scale: Tensor | None = None,
    *,
    input_zero_point: Tensor | None = None,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out_scale: float | None = None,
    out_zero_point: int = 0,
) -> Tensor:
    """Convolution of quantized maps with a quantized filter: exact integer sums, then one scale an image and a channel.

    ``sums = conv2d(q - input_zero_point, weight, None, stride, padding, dilation, groups)`` is exact for every depth;
    padding adds nothing to it. ``out = activation(input_scale * weight_scale * sums + bias + skip_scale * skip)``, or,
    without ``weight_scale``, the sums themselves.

    ``q`` is ``input`` where that holds integers. A float ``input`` is quantized on the way into the kernel,
    ``q = clamp(round(input / input_scale) + input_zero_point, 0, 255)``, round half to even; where ``input_scale`` is
    None, every image gets the scale and the zero point by which it uses all of [0, 255], and an image that holds a NaN
    or an infinity comes out as NaN.

    The filter is brought into the kernel's order on every call: to convolve with one filter many times, see
    ``int8_conv2d_packed`` or ``greenkernels.nn.Int8Conv2d``. Not differentiable. Under autocast a float ``input`` is
    cast as for ``torch.nn.functional.conv2d``; scales, bias and slopes stay float32.

    Args:
        input: ``[batch, in_channels, h, w]``, uint8, int8, float16, bfloat16 or float32; any strides.
        weight: ``[out_channels, in_channels / groups, kernel_h, kernel_w]`` int8.
        input_scale: float32 ``[batch]`` or ``[1]``, real value of one step of ``q``.
        weight_scale: float32 ``[out_channels]``, real value of one step of ``weight``.
        input_zero_point: int32 ``[batch]`` or ``[1]``, what stands for 0: in [-128, 127] for int8 ``input``, else in
            [0, 255].
        bias: float32 ``[out_channels]``.
        stride: Input pixels from one output pixel to the next, ``s`` or ``(s_h, s_w)``, each 1 or more.
        padding: Zeros added on each side, ``p`` or ``(p_h, p_w)``, each 0 or more.
        dilation: Input pixels from one tap of the filter to the next, ``d`` or ``(d_h, d_w)``, each 1 or more.
        groups: Parts into which the channels are split, each convolved by itself; divides ``in_channels`` and
            ``out_channels``.
        activation: None, "relu", "relu6", "leaky_relu", "prelu", "silu", "gelu", "sigmoid", "tanh",
            "hardswish" or "hardsigmoid", each as in ``torch.nn.functional`` with its defaults.
        activation_param: The slope left of zero: a float or float32 ``[1]`` for "leaky_relu", float32 ``[1]`` or
            ``[out_channels]`` for "prelu"; None for the others.
        skip: Added before the activation, of the shape of the output; float16, bfloat16 or float32.
        skip_scale: Factor of ``skip``.
        out_scale: Asks for the output as uint8, ``clamp(round(out / out_scale) + out_zero_point, 0, 255)``.
        out_zero_point: In [0, 255].

    Returns:
        ``[batch, out_channels, out_h, out_w]`` in the memory format of ``input``, with ``out_h = (h + 2 p_h - d_h
        (kernel_h - 1) - 1) // s_h + 1`` and ``out_w`` alike: int32 without ``weight_scale``, uint8 in channels_last
        with ``out_scale``, else the dtype of a float ``input`` or float32.

    Raises:
        ValueError: ``activation`` is not one of the above.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes, devices or ranges do not fit; a sum has more than 2^24 - 1 products, or more than
            2^16 where the sums themselves are asked for; a gradient is asked for.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018.
    """
    check_activation(activation, activation_param)
    geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
    epilogue = (activation, _param(activation_param, input), skip, skip_scale, out_scale, out_zero_point)
    return conv(input, weight, input_scale, weight_scale, input_zero_point, bias, *geometry, *epilogue)


def int8_conv2d_packed(
    input: Tensor,
    packed: Tensor,
    input_scale: Tensor | None = None,
    weight_scale: Tensor | None = None,
    *,
    out_channels: int,
    kernel_size: Pair,
    input_zero_point: Tensor | None = None,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out_scale: float | None = None,
    out_zero_point: int = 0,
) -> Tensor:
    """``int8_conv2d`` with a filter that ``int8_conv2d_pack`` brought into order before.

    Arguments, result and errors are those of ``int8_conv2d`` except for:

    Args:
        packed: What ``int8_conv2d_pack(weight, groups)`` returned, with the same ``groups``.
        out_channels: ``weight.shape[0]``.
        kernel_size: ``weight.shape[2:]``, or one number for both.
    """
    check_activation(activation, activation_param)
    sizes = (out_channels, _pair(kernel_size))
    geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
    epilogue = (activation, _param(activation_param, input), skip, skip_scale, out_scale, out_zero_point)
    quantizers = (input_scale, weight_scale, input_zero_point, bias)
    return packed_conv(input, packed, *sizes, *quantizers, *geometry, *epilogue)


def int8_conv2d_pack(weight: Tensor, groups: int = 1) -> Tensor:
    """The filter in the order in which the kernels of ``int8_conv2d_packed`` read it.

    One layout for all instruction sets, so it may be stored and used on another machine.

    Args:
        weight: ``[out_channels, in_channels / groups, kernel_h, kernel_w]`` int8, any strides.
        groups: Divides ``out_channels``.

    Returns:
        int8, 1-D: for each group, channels innermost, what ``int8_gemm_pack`` makes of ``[out_channels / groups,
        kernel_h * kernel_w * in_channels / groups]``.

    Raises:
        RuntimeError: ``weight`` is not int8 or not of this shape, or ``groups`` does not divide it.
    """
    return pack(weight, groups)


def int8_conv2d_unpack(
    packed: Tensor, out_channels: int, in_channels: int, kernel_size: Pair, groups: int = 1
) -> Tensor:
    """The filter that ``packed`` was made from.

    Args:
        packed: What ``int8_conv2d_pack`` returned for a filter of these sizes.
        out_channels: First size of the filter.
        in_channels: Second size of the filter times ``groups``.
        kernel_size: The other two sizes.
        groups: As for packing.

    Returns:
        int8 ``[out_channels, in_channels / groups, kernel_h, kernel_w]``.

    Raises:
        RuntimeError: ``packed`` has another number of elements than these sizes ask for.
    """
    return unpack(packed, out_channels, in_channels // groups, _pair(kernel_size), groups)
