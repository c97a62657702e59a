"""strassen_conv2d: convolution with a filter of one pixel as a matrix product, as typed functions.

The contract is ``csrc/api/strassen_conv2d.h``; ``strassen_conv2d_op.py`` defines the ops these functions call.
"""

from torch import Tensor

from .activation import check_activation, param_as_tensor
from .strassen_conv2d_op import conv, conv_out, pack, packed_conv, packed_conv_out


def strassen_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    levels: int = 0,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """Convolution with 1x1 filters, stride 1 and no padding, with bias, skip connection and activation fused.

    ``out = activation(conv2d(input, weight) + bias + skip_scale * skip)``: the product of ``sgemm``, or, with
    ``levels``, of ``strassen_gemm``, on the map as it lies in memory. The weight is packed on every call: to convolve
    with one weight many times, see ``strassen_conv2d_packed`` or ``greenkernels.nn.StrassenConv2d``.

    Differentiable, also twice, with respect to ``input``, ``weight``, ``bias``, ``activation_param`` and
    ``skip``, unless ``out`` is given. Under autocast all tensors are cast as for
    ``torch.nn.functional.conv2d``.

    Args:
        input: ``[batch, in_channels, h, w]``, float16, bfloat16 (both computed in float32), float32 or
            float64; any strides, best in channels_last.
        weight: ``[out_channels, in_channels, 1, 1]``, of the dtype of ``input`` like all tensors below.
        bias: ``[out_channels]``.
        levels: Of Strassen's algorithm, 0 to 3; see ``strassen_gemm`` for the error.
        activation: None or a name of ``greenkernels.ops.direct_conv2d``.
        activation_param: The slope left of zero: a float or 1 element for "leaky_relu", 1 or ``out_channels``
            elements for "prelu"; None for the others.
        skip: Added before the activation, of the shape of the output.
        skip_scale: Factor of ``skip``.
        out: Tensor to write the result to, of the shape and dtype of the output; may be ``skip`` itself.

    Returns:
        ``[batch, out_channels, h, w]`` in the dtype and memory format of ``input``; ``out`` if given.

    Raises:
        ValueError: ``activation`` is not one of the above.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit together, ``levels`` is not 0 to 3, or ``out`` is given
            and a gradient is asked for.

    Source: as for ``sgemm`` and ``strassen_gemm``.
    """
    check_activation(activation, activation_param)
    options = (levels, activation, param_as_tensor(activation_param, input), skip, skip_scale)
    if out is None:
        return conv(input, weight, bias, *options)
    conv_out(input, weight, bias, *options, out=out)
    return out


def strassen_conv2d_packed(
    input: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    *,
    out_channels: int,
    levels: int = 0,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """``strassen_conv2d`` with a weight that ``strassen_conv2d_pack`` brought into order before, for inference.

    Differentiable with respect to all tensors but ``packed``. Arguments, result and errors are those of
    ``strassen_conv2d`` except for:

    Args:
        packed: What ``strassen_conv2d_pack(weight, levels)`` returned, with the same ``levels``; float64 for
            float64 ``input``, else float32, also for half-precision ``input``.
        out_channels: ``weight.shape[0]``.
    """
    check_activation(activation, activation_param)
    param = param_as_tensor(activation_param, input)
    options = (out_channels, levels, activation, param, skip, skip_scale)
    if out is None:
        return packed_conv(input, packed, bias, *options)
    packed_conv_out(input, packed, bias, *options, out=out)
    return out


def strassen_conv2d_pack(weight: Tensor, levels: int = 0) -> Tensor:
    """The weight in the order in which the kernels of ``strassen_conv2d_packed`` read it.

    What ``strassen_gemm_pack`` makes of ``weight.flatten(1)``, ``(7 / 4)^levels`` of its memory. Not differentiable.

    Args:
        weight: ``[out_channels, in_channels, 1, 1]``, float16, bfloat16, float32 or float64; any strides.
        levels: 0 to 3.

    Returns:
        1-D, float64 for a float64 weight, else float32.

    Raises:
        RuntimeError: ``weight`` is not a floating-point tensor of this shape, or ``levels`` is not 0 to 3.
    """
    return pack(weight, levels)
