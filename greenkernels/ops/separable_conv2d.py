"""separable_conv2d: a depthwise convolution between two 1x1 convolutions, as a typed function.

The contract is ``csrc/api/separable_conv2d.h``; ``separable_conv2d_op.py`` defines the op this function calls.
"""

from collections.abc import Sequence

from torch import Tensor

from .separable_conv2d_op import packed_conv

Pair = int | Sequence[int]


def _pair(value: Pair) -> Sequence[int]:
    return value if isinstance(value, Sequence) else (value, value)


def separable_conv2d_packed(
    input: Tensor,
    depthwise: Tensor,
    project: Tensor,
    *,
    hidden_channels: int,
    out_channels: int,
    kernel_size: Pair,
    expand: Tensor | None = None,
    expand_bias: Tensor | None = None,
    depthwise_bias: Tensor | None = None,
    project_bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    expand_activation: str | None = None,
    depthwise_activation: str | None = None,
    activation: str | None = None,
    skip: Tensor | None = None,
    skip_scale: float = 1.0,
) -> Tensor:
    """A block of a mobile network in one call; the maps between its layers stay in the caches.

    With ``hidden = expand_activation(expand * input + expand_bias)``, or the input itself without ``expand``, and
    ``middle = depthwise_activation(conv2d(hidden, depthwise, groups=hidden_channels, ...) + depthwise_bias)``:

    ``out = activation(project * middle + project_bias + skip_scale * skip)``.

    The kernel works in channels_last; other maps are copied. Differentiable with respect to all tensors but the packed
    ones, layer by layer.

    Args:
        input: ``[batch, in_channels, h, w]``, float32 as all tensors; any strides.
        depthwise: What ``depthwise_conv2d_pack`` returned for ``[hidden_channels, 1, kernel_h, kernel_w]``.
        project: What ``direct_conv2d_pack`` returned for ``[out_channels, hidden_channels, 1, 1]``.
        hidden_channels: Channels of the depthwise convolution; those of ``input`` without ``expand``.
        out_channels: Channels of the output.
        kernel_size, stride, padding, dilation: Of the depthwise convolution, a number or ``(h, w)``.
        expand: What ``direct_conv2d_pack`` returned for ``[hidden_channels, in_channels, 1, 1]``, or None.
        expand_bias, depthwise_bias: ``[hidden_channels]``.
        project_bias: ``[out_channels]``.
        expand_activation, depthwise_activation, activation: None or "relu", "relu6", "silu", "gelu", "sigmoid",
            "tanh", "hardswish", "hardsigmoid".
        skip: Added before the last activation, of the shape of the output.
        skip_scale: Factor of ``skip``.

    Returns:
        ``[batch, out_channels, out_h, out_w]`` in the memory format of ``input``.

    Raises:
        RuntimeError: Shapes, dtypes, devices or activations do not fit together.

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
    """
    geometry = (_pair(kernel_size), _pair(stride), _pair(padding), _pair(dilation))
    weights = (expand, expand_bias, depthwise, depthwise_bias, project, project_bias)
    names = (expand_activation, depthwise_activation, activation)
    return packed_conv(input, *weights, hidden_channels, out_channels, *geometry, *names, skip, skip_scale)
