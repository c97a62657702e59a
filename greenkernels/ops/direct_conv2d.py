"""direct_conv2d: convolution with any filter, stride, padding, dilation and groups, as typed functions.

The contract is ``csrc/api/direct_conv2d.h``; ``direct_conv2d_op.py`` defines the ops these functions call.
"""

from collections.abc import Sequence

from torch import Tensor

from .activation import check_activation, param_as_tensor
from .direct_conv2d_op import conv, conv_out, pack, packed_conv, packed_conv_out, unpack

Pair = int | Sequence[int]


def _pair(value: Pair) -> Sequence[int]:
    return value if isinstance(value, Sequence) else (value, value)


def direct_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """Convolution as one matrix product of gathered pixels and weight, with bias, skip connection and activation
    fused.

    ``out = activation(conv2d(input, weight, None, stride, padding, dilation, groups) + bias + skip_scale * skip)``.
    The weight is brought into the kernel's order on every call: to convolve with one weight many times, see
    ``direct_conv2d_packed`` or ``greenkernels.nn.DirectConv2d``.

    Differentiable, also twice, with respect to ``input``, ``weight``, ``bias``, ``activation_param`` and
    ``skip``, unless ``out`` is given. Under autocast all tensors are cast as for
    ``torch.nn.functional.conv2d``.

    Args:
        input: ``[batch, in_channels, h, w]``, float16, bfloat16 (both computed in float32), float32 or
            float64; any strides.
        weight: ``[out_channels, in_channels / groups, kernel_h, kernel_w]``, of the dtype of ``input`` like all
            tensors below.
        bias: ``[out_channels]``.
        stride: Input pixels from one output pixel to the next, ``s`` or ``(s_h, s_w)``, each 1 or more.
        padding: Zeros added on each side, ``p`` or ``(p_h, p_w)``, each 0 or more.
        dilation: Input pixels from one tap of the filter to the next, ``d`` or ``(d_h, d_w)``, each 1 or more.
        groups: Parts into which the channels are split, each convolved by itself; divides ``in_channels`` and
            ``out_channels``.
        activation: None, "relu", "relu6", "leaky_relu", "prelu", "silu", "gelu", "sigmoid", "tanh",
            "hardswish" or "hardsigmoid", each as in ``torch.nn.functional`` with its defaults.
        activation_param: The slope left of zero: a float or 1 element for "leaky_relu", 1 or ``out_channels``
            elements for "prelu"; None for the others.
        skip: Added before the activation, of the shape of the output.
        skip_scale: Factor of ``skip``.
        out: Tensor to write the result to, of the shape and dtype of the output; may be ``skip`` itself.

    Returns:
        ``[batch, out_channels, out_h, out_w]`` in the dtype and memory format of ``input``, with ``out_h = (h + 2 p_h
        - d_h (kernel_h - 1) - 1) // s_h + 1`` and ``out_w`` alike; ``out`` if given.

    Raises:
        ValueError: ``activation`` is not one of the above.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit together, or ``out`` is given and a gradient is
            asked for.

    Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document
    Processing", IWFHR 2006.
    """
    check_activation(activation, activation_param)
    param = param_as_tensor(activation_param, input)
    options = (_pair(stride), _pair(padding), _pair(dilation), groups, activation, param, skip, skip_scale)
    if out is None:
        return conv(input, weight, bias, *options)
    conv_out(input, weight, bias, *options, out=out)
    return out


def direct_conv2d_packed(
    input: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    *,
    out_channels: int,
    kernel_size: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """``direct_conv2d`` with a weight that ``direct_conv2d_pack`` brought into order before, for inference.

    Differentiable with respect to all tensors but ``packed``. Arguments, result and errors are those of
    ``direct_conv2d`` except for:

    Args:
        packed: What ``direct_conv2d_pack(weight, groups)`` returned, with the same ``groups``; float64 for
            float64 ``input``, else float32, also for half-precision ``input``.
        out_channels: ``weight.shape[0]``.
        kernel_size: ``weight.shape[2:]``, or one number for both.
    """
    check_activation(activation, activation_param)
    param = param_as_tensor(activation_param, input)
    geometry = (_pair(kernel_size), _pair(stride), _pair(padding), _pair(dilation), groups)
    options = (out_channels, *geometry, activation, param, skip, skip_scale)
    if out is None:
        return packed_conv(input, packed, bias, *options)
    packed_conv_out(input, packed, bias, *options, out=out)
    return out


def direct_conv2d_pack(weight: Tensor, groups: int = 1) -> Tensor:
    """The weight in the order in which the kernels of ``direct_conv2d_packed`` read it.

    One layout for all instruction sets, so it may be stored and used on another machine. Not differentiable.

    Args:
        weight: ``[out_channels, in_channels / groups, kernel_h, kernel_w]``, float16, bfloat16, float32 or float64;
            any strides.
        groups: Divides ``out_channels``.

    Returns:
        ``[groups * kernel_h * kernel_w * in_channels / groups * p]`` with ``p`` the multiple of 16 at or above
        ``out_channels / groups``; float64 for a float64 weight, else float32.

    Raises:
        RuntimeError: ``weight`` is not a floating-point tensor of this shape, or ``groups`` does not divide it.
    """
    return pack(weight, groups)


def direct_conv2d_unpack(
    packed: Tensor, out_channels: int, in_channels: int, kernel_size: Pair, groups: int = 1
) -> Tensor:
    """The weight that ``packed`` was made from.

    Args:
        packed: What ``direct_conv2d_pack`` returned for a weight of these sizes.
        out_channels: First size of the weight.
        in_channels: Second size of the weight times ``groups``.
        kernel_size: The other two sizes.
        groups: As for packing.

    Returns:
        ``[out_channels, in_channels / groups, kernel_h, kernel_w]`` in the dtype of ``packed``.

    Raises:
        RuntimeError: ``packed`` has another number of elements than these sizes ask for.
    """
    return unpack(packed, out_channels, in_channels // groups, _pair(kernel_size), groups)
