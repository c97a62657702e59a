"""int8_winograd_conv2d: 3x3 convolution in 8-bit integers by Winograd's F(2x2, 3x3), as typed functions.

The contract is ``csrc/api/int8_winograd_conv2d.h``; ``int8_winograd_conv2d_op.py`` defines the op these functions call.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .activation import check_activation
from .int8_gemm_op import pack
from .int8_quantization import quantize_weight
from .int8_winograd_conv2d_op import TAPS, packed_conv, taps_of

Pair = int | Sequence[int]


def int8_winograd_conv2d(input: Tensor, weight: Tensor, **options: object) -> Tensor:
    """``int8_winograd_conv2d_packed`` on a float filter, which is transformed, quantized and packed on every call.

    Args:
        input: ``[batch, in_channels, h, w]``.
        weight: ``[out_channels, in_channels, 3, 3]``, any float dtype.
        **options: The keyword-only arguments of ``int8_winograd_conv2d_packed``, but for ``out_channels``.
    """
    packed, scale = int8_winograd_conv2d_pack(weight)
    return int8_winograd_conv2d_packed(input, packed, scale, out_channels=weight.shape[0], **options)


def int8_winograd_conv2d_packed(
    input: Tensor,
    packed: Tensor,
    weight_scale: Tensor,
    *,
    out_channels: int,
    bias: Tensor | None = None,
    padding: Pair = 0,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
) -> Tensor:
    """Convolution with 3x3 filters, stride 1, in 16 integer products for 36.

    Every tile of 4x4 input values is transformed in float32, ``v = B^T d B``; each of its 16 taps is quantized by
    itself, over all channels, as ``int8_gemm`` quantizes a row, and multiplied by that tap of the filters with exact
    sums; ``A^T p A`` of the scaled sums is a tile of 2x2 output values. ``out = activation(conv + bias + skip_scale *
    skip)``. A tile that sees a NaN or an infinity comes out as NaN. Not differentiable. Fastest on channels_last;
    other maps are copied on the way in and out.

    Args:
        input: ``[batch, in_channels, h, w]``, float16, bfloat16 or float32; any strides; at most 65536 channels.
        packed: What ``int8_winograd_conv2d_pack(weight)`` returned first.
        weight_scale: What it returned second, float32 ``[16, out_channels]``.
        out_channels: ``weight.shape[0]``.
        bias: float32 ``[out_channels]``.
        padding: Zeros added on each side, ``p`` or ``(p_h, p_w)``.
        activation: None, or a name as for ``int8_conv2d``, with ``activation_param``.
        activation_param: The slope left of zero of "leaky_relu" or "prelu".
        skip: Added before the activation, of the shape of the output; float16, bfloat16 or float32.
        skip_scale: Factor of ``skip``.

    Returns:
        ``[batch, out_channels, h + 2 p_h - 2, w + 2 p_w - 2]`` in dtype and memory format of ``input``.

    Raises:
        ValueError: ``activation`` is not one of the above.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit; a gradient is asked for.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; Andri et al., "Going Further
    With Winograd Convolutions: Tap-Wise Quantization for Efficient Inference on 4x4 Tiles", MICRO 2022.
    """
    check_activation(activation, activation_param)
    if isinstance(activation_param, (float, int)):
        activation_param = torch.full((1,), float(activation_param), device=input.device)
    pair = padding if isinstance(padding, Sequence) else (padding, padding)
    epilogue = (activation, activation_param, skip, skip_scale)
    return packed_conv(input, packed, out_channels, weight_scale, bias, pair, *epilogue)


def int8_winograd_conv2d_pack(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The taps ``G g G^T`` of the filters in 8 bits, in the order in which the kernel reads them, and their scales.

    Args:
        weight: ``[out_channels, in_channels, 3, 3]``, any float dtype.

    Returns:
        int8, 1-D: for each of the 16 taps what ``int8_gemm_pack`` makes of ``[out_channels, in_channels]``, symmetric
        in [-127, 127]; and the real value of a step for each tap of each filter, float32 ``[16, out_channels]``.

    Raises:
        ValueError: ``weight`` is not of this shape, or holds a NaN or an infinity.
    """
    if weight.dim() != 4 or tuple(weight.shape[2:]) != (3, 3):
        raise ValueError(f"weight must be [out_channels, in_channels, 3, 3], got {list(weight.shape)}")
    taps = taps_of(weight.detach())
    values, scale = quantize_weight(taps.float().flatten(0, 1))
    packed = [pack(tap) for tap in values.reshape(taps.shape)]
    return torch.cat(packed), scale.reshape(TAPS, -1)
