"""winograd_conv2d: 3x3 convolution by Winograd's F(m x m, 3 x 3), as typed functions.

The contract is ``csrc/api/winograd_conv2d.h``; ``winograd_conv2d_op.py`` defines the ops these functions
call.
"""

from collections.abc import Sequence

from torch import Tensor

from . import activation as activations
from .winograd_conv2d_op import conv, conv_out, pack, packed_conv, packed_conv_out, unpack
from .winograd_transforms import TILES


def check_options(tile: int, activation: str | None, activation_param: Tensor | float | None) -> None:
    if tile not in TILES:
        raise ValueError(f"tile must be 2, 4 or 6, got {tile!r}")
    activations.check_activation(activation, activation_param)


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
    """3x3 convolution with stride 1 by Winograd's minimal filtering, with bias, skip connection and
    activation fused.

    ``out = activation(conv2d(input, weight, padding=padding) + bias + skip_scale * skip)``. Each ``tile x
    tile`` patch of the output costs ``(tile + 2)^2`` multiplications a channel instead of ``9 tile^2``;
    rounding errors grow by about 2, 5 and 17 for tiles 2, 4 and 6. The weight is transformed on every call:
    to convolve with one weight many times, see ``winograd_conv2d_packed`` or
    ``greenkernels.nn.WinogradConv2d``.

    Differentiable, also twice, with respect to ``input``, ``weight``, ``bias``, ``activation_param`` and
    ``skip``, unless ``out`` is given. Under autocast all tensors are cast as for
    ``torch.nn.functional.conv2d``. A NaN or infinity in ``input`` reaches all outputs of the tiles that read
    it, not only the nine that a direct convolution would touch.

    Args:
        input: ``[batch, in_channels, h, w]``, float16, bfloat16 (both computed in float32 and rounded
            once, at the end), float32 or float64; any strides.
        weight: ``[out_channels, in_channels, 3, 3]``, of the dtype of ``input`` like all tensors below.
        bias: ``[out_channels]``.
        padding: Zeros added on each side, ``p`` or ``(p_h, p_w)``, each 0 or more.
        tile: Width of an output tile: 2, 4 or 6.
        activation: None, "relu", "relu6", "leaky_relu", "prelu", "silu", "gelu", "sigmoid", "tanh",
            "hardswish" or "hardsigmoid", each as in ``torch.nn.functional`` with its defaults.
        activation_param: The slope left of zero: a float or 1 element for "leaky_relu", 1 or ``out_channels``
            elements for "prelu"; None for the others.
        skip: Added before the activation, of the shape of the output.
        skip_scale: Factor of ``skip``.
        out: Tensor to write the result to, of the shape and dtype of the output; may be ``skip`` itself.

    Returns:
        ``[batch, out_channels, h + 2 p_h - 2, w + 2 p_w - 2]`` in the dtype and memory format of ``input``;
        ``out`` if given.

    Raises:
        ValueError: ``tile`` or ``activation`` is not one of the above.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit together, or ``out`` is given and a gradient is
            asked for.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
    """
    check_options(tile, activation, activation_param)
    param = activations.param_as_tensor(activation_param, input)
    options = (_pair(padding), tile, activation, param, skip, skip_scale)
    if out is None:
        return conv(input, weight, bias, *options)
    conv_out(input, weight, bias, *options, out=out)
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

    Differentiable with respect to all tensors but ``packed``. Arguments, result and errors are those of
    ``winograd_conv2d`` except for:

    Args:
        packed: What ``winograd_conv2d_pack(weight, tile)`` returned, with the same ``tile``; float64 for
            float64 ``input``, else float32, also for half-precision ``input``.
        out_channels: ``weight.shape[0]``.
    """
    check_options(tile, activation, activation_param)
    param = activations.param_as_tensor(activation_param, input)
    options = (_pair(padding), tile, activation, param, skip, skip_scale)
    if out is None:
        return packed_conv(input, packed, bias, out_channels, *options)
    packed_conv_out(input, packed, bias, out_channels, *options, out=out)
    return out


def winograd_conv2d_pack(weight: Tensor, tile: int = 4) -> Tensor:
    """The weight transformed for ``winograd_conv2d_packed``: ``G g G^T`` of each filter, in the order the
    kernels read it.

    One layout for all instruction sets, so it may be stored and used on another machine. Not differentiable.

    Args:
        weight: ``[out_channels, in_channels, 3, 3]``, float16, bfloat16, float32 or float64; any strides.
        tile: 2, 4 or 6.

    Returns:
        ``[(tile + 2)^2 * in_channels * p]`` with ``p`` the multiple of 16 at or above ``out_channels``;
        float64 for a float64 weight, else float32.

    Raises:
        ValueError: ``tile`` is not 2, 4 or 6.
        RuntimeError: ``weight`` is not a floating-point tensor of this shape.
    """
    check_options(tile, None, None)
    return pack(weight, tile)


def winograd_conv2d_unpack(packed: Tensor, out_channels: int, in_channels: int, tile: int = 4) -> Tensor:
    """The weight that ``packed`` was made from, up to about 1 ulp: the least-squares solution of ``G g G^T =
    U``.

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
