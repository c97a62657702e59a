"""``greenkernels.ops.csr_conv2d_packed``: convolution with an unstructured sparse filter."""

from torch import Tensor

from .csr_conv2d_op import packed_conv

Pair = int | tuple[int, int]


def _pair(value: Pair) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def csr_conv2d_packed(
    input: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    *,
    out_channels: int,
    kernel_size: Pair,
    nnz: int,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Tensor:
    """``nn.functional.conv2d`` with a sparse filter that ``csr_matmul_pack`` packed, for inference.

    The filter is packed as ``[out_channels, in_channels * kernel_h * kernel_w]`` with ``batch=64``. A weight that is
    not stored skips ``NaN * 0``. Differentiable with respect to ``input`` and ``bias``. Under autocast these are
    cast as for ``torch.nn.functional.conv2d``.

    Args:
        input: ``[batch, in_channels, h, w]``, float16, bfloat16 (both computed in float32) or float32; any strides.
        packed: What ``csr_matmul_pack`` returned. Its contents are not checked again.
        bias: ``[out_channels]``, of the dtype of ``input``.
        out_channels: First size of the filter.
        kernel_size: Its last two sizes, or one number for both.
        nnz: Number of its nonzeros.
        stride: As for ``torch.nn.functional.conv2d``, as are:
        padding: Zeros on each side.
        dilation: Input pixels from one tap of the filter to the next.

    Returns:
        ``[batch, out_channels, out_h, out_w]`` in the dtype and memory format of ``input``.

    Raises:
        RuntimeError: Shapes, dtypes or devices do not fit together.

    Source: Park et al., "Faster CNNs with Direct Sparse Convolutions and Guided Pruning", ICLR 2017.
    """
    geometry = (_pair(kernel_size), _pair(stride), _pair(padding), _pair(dilation))
    return packed_conv(input, packed, bias, out_channels, *geometry, nnz)
