"""The two gradients of winograd_conv2d as ops of torch: schemas, plain torch, fake kernels.

The contract is ``csrc/api/winograd_conv2d.h``. Who calls them, and their own gradients: ``winograd_conv2d_grad.py``.

- ``winograd_conv2d_input_grad(grad, weight, padding, tile)``: ``[batch, in_channels, h, w]`` in the dtype and
  memory format of ``grad``, for paddings up to 2.
- ``winograd_conv2d_weight_grad(input, grad, padding, tile)``: ``[out_channels, in_channels, 3, 3]``, contiguous, in
  the dtype of ``input``, for tiles 2 and 4.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _library
from .conv2d_checks import compute_dtype
from .maps import empty_like_format, with_format
from .winograd_conv2d_checks import check_input_grad, check_weight_grad

_INPUT, _WEIGHT = "winograd_conv2d_input_grad", "winograd_conv2d_weight_grad"

_library.define(f"{_INPUT}(Tensor grad, Tensor weight, SymInt[2] padding, int tile) -> Tensor")
_library.define(f"{_WEIGHT}(Tensor input, Tensor grad, SymInt[2] padding, int tile) -> Tensor")

# Bound once: a lookup through torch.ops costs a call more than 1 us.
input_grad = torch.ops.greenkernels.winograd_conv2d_input_grad.default
weight_grad = torch.ops.greenkernels.winograd_conv2d_weight_grad.default


def stock_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    padding: Sequence[int],
    mask: Sequence[bool],
    bias_sizes: Sequence[int] | None = None,
) -> tuple[Tensor | None, ...]:
    """Torch's own gradients with respect to input, weight and bias, those that ``mask`` asks for, for maps that
    are not empty."""
    ones, zeros = [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        grad, x, weight, bias_sizes, ones, padding, ones, False, zeros, 1, mask
    )


def input_grad_plain(grad: Tensor, weight: Tensor, padding: Sequence[int], tile: int) -> Tensor:
    """winograd_conv2d_input_grad in torch's own ops."""
    shape, dtype = check_input_grad(_INPUT, grad, weight, padding, tile), compute_dtype(grad)
    if 0 in (*shape, *grad.shape):
        return with_format(grad.new_zeros(shape), grad)
    like = grad.new_empty(1, dtype=dtype).expand(shape)  # only its shape is read
    out, _, _ = stock_backward(grad.to(dtype), like, weight.to(dtype), padding, [True, False, False])
    return with_format(out, grad)


def weight_grad_plain(x: Tensor, grad: Tensor, padding: Sequence[int], tile: int) -> Tensor:
    """winograd_conv2d_weight_grad in torch's own ops."""
    shape, dtype = check_weight_grad(_WEIGHT, x, grad, padding, tile), compute_dtype(x)
    if 0 in (*x.shape, *grad.shape):
        return x.new_zeros(shape)
    like = x.new_empty(1, dtype=dtype).expand(shape)
    _, out, _ = stock_backward(grad.to(dtype), x.to(dtype), like, padding, [False, True, False])
    return out.to(x.dtype).contiguous()


def _input_grad_fake(grad: Tensor, *args: object) -> Tensor:
    return empty_like_format(grad, check_input_grad(_INPUT, grad, *args))


def _weight_grad_fake(x: Tensor, *args: object) -> Tensor:
    return x.new_empty(check_weight_grad(_WEIGHT, x, *args))


_library.register(input_grad, input_grad_plain, _input_grad_fake)
_library.register(weight_grad, weight_grad_plain, _weight_grad_fake)
