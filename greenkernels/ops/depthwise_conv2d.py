"""depthwise_conv2d: convolution of every channel with a filter of its own, as typed functions.

The contract is ``csrc/api/depthwise_conv2d.h``; ``depthwise_conv2d_op.py`` defines the ops these functions call.
"""

from collections.abc import Sequence

from torch import Tensor

from .activation import check_activation, param_as_tensor
from .depthwise_conv2d_op import conv, conv_out, pack, packed_conv, packed_conv_out, unpack

Pair = int | Sequence[int]


def _pair(value: Pair) -> Sequence[int]:
    return value if isinstance(value, Sequence) else (value, value)


def depthwise_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """Convolution of every channel with a filter of its own, with bias, skip connection and activation fused.

    ``out = activation(conv2d(input, weight, None, stride, padding, dilation, channels) + bias + skip_scale * skip)``.
    The weight is brought into the kernel's order on every call: to convolve with one weight many times, see
    ``depthwise_conv2d_packed`` or ``greenkernels.nn.DepthwiseConv2d``.

    Differentiable, also twice, with respect to ``input``, ``weight``, ``bias``, ``activation_param`` and
    ``skip``, unless ``out`` is given. Under autocast all tensors are cast as for
    ``torch.nn.functional.conv2d``.

    Args:
        input: ``[batch, channels, h, w]``, float16, bfloat16 (both computed in float32), float32 or float64; any
            strides.
        weight: ``[channels, 1, kernel_h, kernel_w]``, of the dtype of ``input`` like all tensors below.
        bias: ``[channels]``.
        stride: Input pixels from one output pixel to the next, ``s`` or ``(s_h, s_w)``, each 1 or more.
        padding: Zeros added on each side, ``p`` or ``(p_h, p_w)``, each 0 or more.
        dilation: Input pixels from one tap of the filter to the next, ``d`` or ``(d_h, d_w)``, each 1 or more.
        activation: None, "relu", "relu6", "leaky_relu", "prelu", "silu", "gelu", "sigmoid", "tanh",
            "hardswish" or "hardsigmoid", each as in ``torch.nn.functional`` with its defaults.
        activation_param: The slope left of zero: a float or 1 element for "leaky_relu", 1 or ``channels``
            elements for "prelu"; None for the others.
        skip: Added before the activation, of the shape of the output.
        skip_scale: Factor of ``skip``.
        out: Tensor to write the result to, of the shape and dtype of the output; may be ``skip`` itself.

    Returns:
        ``[batch, channels, out_h, out_w]`` in the dtype and memory format of ``input``, with ``out_h = (h + 2 p_h
        - d_h (kernel_h - 1) - 1) // s_h + 1`` and ``out_w`` alike; ``out`` if given.

    Raises:
        ValueError: ``activation`` is not one of the above.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit together, or ``out`` is given and a gradient is
            asked for.

    Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    2017.
    """
    check_activation(activation, activation_param)
    param = param_as_tensor(activation_param, input)
    options = (_pair(stride), _pair(padding), _pair(dilation), activation, param, skip, skip_scale)
    if out is None:
        return conv(input, weight, bias, *options)
    conv_out(input, weight, bias, *options, out=out)
    return out


def depthwise_conv2d_packed(
    input: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_size: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """``depthwise_conv2d`` with a weight that ``depthwise_conv2d_pack`` brought into order before, for inference.

    Differentiable with respect to all tensors but ``packed``. Arguments, result and errors are those of
    ``depthwise_conv2d`` except for:

    Args:
        packed: What ``depthwise_conv2d_pack(weight)`` returned; float64 for float64 ``input``, else float32, also for
            half-precision ``input``.
        kernel_size: ``weight.shape[2:]``, or one number for both.
    """
    check_activation(activation, activation_param)
    param = param_as_tensor(activation_param, input)
    geometry = (_pair(kernel_size), _pair(stride), _pair(padding), _pair(dilation))
    options = (*geometry, activation, param, skip, skip_scale)
    if out is None:
        return packed_conv(input, packed, bias, *options)
    packed_conv_out(input, packed, bias, *options, out=out)
    return out


def depthwise_conv2d_pack(weight: Tensor) -> Tensor:
    """The weight in the order in which the kernels of ``depthwise_conv2d_packed`` read it.

    One layout for all instruction sets, so it may be stored and used on another machine. Not differentiable.

    Args:
        weight: ``[channels, 1, kernel_h, kernel_w]``, float16, bfloat16, float32 or float64; any strides.

    Returns:
        ``[kernel_h * kernel_w * p]`` with ``p`` the multiple of 16 at or above ``channels``; float64 for a float64
        weight, else float32.

    Raises:
        RuntimeError: ``weight`` is not a floating-point tensor of this shape.
    """
    return pack(weight)


def depthwise_conv2d_unpack(packed: Tensor, channels: int, kernel_size: Pair) -> Tensor:
    """The weight that ``packed`` was made from.

    Args:
        packed: What ``depthwise_conv2d_pack`` returned for a weight of these sizes.
        channels: First size of the weight.
        kernel_size: Its last two sizes, or one number for both.

    Returns:
        ``[channels, 1, kernel_h, kernel_w]`` in the dtype of ``packed``.

    Raises:
        RuntimeError: ``packed`` has another number of elements than these sizes ask for.
    """
    return unpack(packed, channels, _pair(kernel_size))
