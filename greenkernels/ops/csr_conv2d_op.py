"""csr_conv2d as an op of torch. The contract is ``csrc/api/csr_conv2d.h``.

``csr_conv2d_packed(input, packed, bias, out_channels, kernel_size, stride, padding, dilation, nnz)`` takes a filter
that ``csr_matmul_pack`` packed as ``[out_channels, in_channels * kernel_h * kernel_w]`` for ``CONV_BATCH`` rows.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _library, csr_packing
from .conv2d_checks import check_bias, check_input, check_pair, fail
from .csr_matmul_checks import check_header, check_packed_bytes
from .csr_matmul_op import unpack
from .direct_conv2d_checks import check_sizes, out_size
from .maps import empty_like_format, with_format

CONV_BATCH = 64  # what the layout of a filter is chosen for: pixels are never few
_MAX_CHANNELS = 1 << 31
_PACKED = "csr_conv2d_packed"

_library.define(
    f"{_PACKED}(Tensor input, Tensor packed, Tensor? bias, SymInt out_channels, SymInt[2] kernel_size, "
    "SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, SymInt nnz) -> Tensor"
)
packed_conv = torch.ops.greenkernels.csr_conv2d_packed.default


def check_call(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    out_channels: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    nnz: int,
) -> tuple[int, int, int, int]:
    """The checks of ``csrc/ops/csr_conv2d.cpp`` in the same order and words; returns the shape of the output."""
    check_input(_PACKED, x)
    if x.dtype == torch.float64:
        fail(_PACKED, "input must be float16, bfloat16 or float32, got float64")
    if not 0 <= out_channels < _MAX_CHANNELS:
        fail(_PACKED, f"out_channels must be in [0, 2^31), got {out_channels}")
    if nnz < 0:
        fail(_PACKED, f"nnz must be at least 0, got {nnz}")
    check_pair(_PACKED, "kernel_size", kernel_size, 1)
    check_pair(_PACKED, "stride", stride, 1)
    check_pair(_PACKED, "padding", padding, 0)
    check_pair(_PACKED, "dilation", dilation, 1)
    extent = [dilation[d] * (kernel_size[d] - 1) + 1 for d in (0, 1)]
    check_sizes(_PACKED, x, extent, padding)
    k = x.shape[1] * kernel_size[0] * kernel_size[1]
    expected = csr_packing.packed_bytes(out_channels, k, nnz, CONV_BATCH, 4)
    check_packed_bytes(_PACKED, x, packed, expected, (nnz, out_channels, k))
    check_bias(_PACKED, x, bias, out_channels)
    h, w = (out_size(x.shape[2 + d], padding[d], extent[d], stride[d]) for d in (0, 1))
    return x.shape[0], out_channels, h, w


def dense_filter(
    x: Tensor, packed: Tensor, out_channels: int, kernel_size: Sequence[int], nnz: int
) -> Tensor:
    """The filter ``[out_channels, in_channels, kernel_h, kernel_w]`` that was packed, float32."""
    k = x.shape[1] * kernel_size[0] * kernel_size[1]
    crow, col, values = unpack(packed, out_channels, k, nnz, CONV_BATCH, False)
    at = csr_packing.rows_of(crow, nnz) * k + col
    flat = values.new_zeros(out_channels * k).index_put((at,), values)
    return flat.reshape(out_channels, x.shape[1], *kernel_size)


def packed_plain(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    out_channels: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    nnz: int,
) -> Tensor:
    """csr_conv2d_packed in torch's own ops: the dense convolution."""
    options = (stride, padding, dilation)
    shape = check_call(x, packed, bias, out_channels, kernel_size, *options, nnz)
    k = x.shape[1] * kernel_size[0] * kernel_size[1]
    check_header(_PACKED, packed, (nnz, out_channels, k), CONV_BATCH, 4)
    if 0 in (*shape, *x.shape):
        out = x.new_zeros(shape) if bias is None else bias[:, None, None].expand(shape).contiguous()
        return with_format(out, x)
    weight = dense_filter(x, packed, out_channels, kernel_size, nnz)
    return F.conv2d(x.float(), weight, None if bias is None else bias.float(), *options).to(x.dtype)


def _fake(x: Tensor, *args: Any) -> Tensor:
    return empty_like_format(x, check_call(x, *args))


def _setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    x, packed, bias, *ctx.options = args
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, packed)


def _backward(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
    x, packed = ctx.saved_tensors
    out_channels, kernel_size, stride, padding, dilation, nnz = ctx.options
    grad_x = torch.zeros_like(x) if needs[0] else None
    if needs[0] and 0 not in (*grad.shape, *x.shape):
        weight = dense_filter(x, packed, out_channels, kernel_size, nnz).to(x.dtype)
        grad_x = torch.ops.aten.convolution_backward(
            grad, x, weight, None, stride, padding, dilation, False, [0, 0], 1, [True, False, False]
        )[0]
    return grad_x, None, grad.sum((0, 2, 3)) if needs[2] else None, *(None,) * len(ctx.options)


_library.register(packed_conv, packed_plain, _fake)
_library.register_autograd(packed_conv, _setup, _backward, packed_plain)
_library.register_autocast(packed_conv, tensors=(0, 2))  # a packed filter stays float32
