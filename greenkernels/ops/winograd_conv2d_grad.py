"""The backward pass of winograd_conv2d's convolution.

It is winograd_conv2d_input_grad and winograd_conv2d_weight_grad where these pay, else torch's own. The three are linear
in each of their two tensors and each other's gradients, so that all are differentiable any number of times.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, ops

from . import _library
from ._library import register_autograd
from .maps import suggested_format
from .winograd_conv2d_checks import out_shape
from .winograd_conv2d_grad_op import (
    input_grad,
    input_grad_plain,
    stock_backward,
    weight_grad,
    weight_grad_plain,
)

# Of the weight gradient: tile 6 would amplify its rounding errors about 3.6 times (docs/winograd_conv2d.md).
_LARGEST_TILE = 4
_LEAST_CHANNELS = 16  # of either side: below, the transforms cost about what they save
_LEAST_TILES = 40  # of the input's gradient: 512 channels gain nothing at 32 (7 x 7, batch 8), 1.1x at 64


def _worth_kernels(
    x: Tensor, weight: Tensor, padding: Sequence[int], tile: int, mask: Sequence[bool]
) -> tuple[bool, bool]:
    """Of the gradients of input and weight, which of those that ``mask`` asks for are worth our kernels.

    The rest is torch's: few channels, where the transforms cost more than they save; maps smaller than half a tile;
    for the input, few tiles, where packing the weight costs more than the products, and a padding that its own
    convolution would have to cut off; and gradients under ``torch.func``, where the ops have no batching rule.
    float64 is always worth them, so that a gradient check checks them.
    """
    if torch._C._are_functorch_transforms_active() or not _library.compiled("winograd_conv2d_weight_grad", x):
        return False, False
    can_input = mask[0] and max(padding) <= 2
    if x.dtype == torch.float64:
        return can_input, mask[1]
    _, _, out_h, out_w = out_shape(x, weight.shape[0], padding)
    tiles = x.shape[0] * ((out_h + tile - 1) // tile) * ((out_w + tile - 1) // tile)
    saves = (tile + 2) ** 2 * tiles <= 9 * x.shape[0] * out_h * out_w
    if not saves or min(weight.shape[:2]) < _LEAST_CHANNELS:
        return False, False
    return can_input and tiles >= _LEAST_TILES, mask[1]


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: list[int] | None,
    mask: Sequence[bool],
    padding: Sequence[int],
    tile: int,
) -> tuple[Tensor | None, ...]:
    """Gradients with respect to input, weight and bias, those that ``mask`` asks for."""
    ours_x, ours_weight = _worth_kernels(x, weight, padding, tile, mask)
    if ours_x or ours_weight:  # the gradient of x gets its format, as in torch
        grad = grad.contiguous(memory_format=suggested_format(x))
    grad_x = grad_weight = grad_bias = None
    rest = [mask[0] and not ours_x, mask[1] and not ours_weight, mask[2]]
    if rest[0] or rest[1]:
        grad_x, grad_weight, grad_bias = stock_backward(grad, x, weight, padding, rest, bias_sizes)
    elif mask[2]:
        grad_bias = grad.sum((0, 2, 3))
    if ours_x:
        grad_x = input_grad(grad, weight, padding, tile)
    if ours_weight:
        grad_weight = weight_grad(x, grad, padding, min(tile, _LARGEST_TILE))
    return grad_x, grad_weight, grad_bias


# Gradients of the gradients.


def _conv(x: Tensor, weight: Tensor, padding: Sequence[int], tile: int) -> Tensor:
    return ops.greenkernels.winograd_conv2d.default(x, weight, None, padding, tile, None, None, None, 1.0)


def _setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    one, other, ctx.padding, ctx.tile = args
    ctx.save_for_backward(one, other)


def _backward_input_grad(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
    grad_out, weight = ctx.saved_tensors  # `grad` has the shape of the input
    back = _conv(grad, weight, ctx.padding, ctx.tile) if needs[0] else None
    tile = min(ctx.tile, _LARGEST_TILE)
    return back, weight_grad(grad, grad_out, ctx.padding, tile) if needs[1] else None, None, None


def _backward_weight_grad(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
    x, grad_out = ctx.saved_tensors  # `grad` has the shape of the weight
    mask = [needs[0], False, False]
    ours, _ = _worth_kernels(x, grad, ctx.padding, ctx.tile, mask)
    back = None
    if needs[0]:
        back = (
            input_grad(grad_out, grad, ctx.padding, ctx.tile)
            if ours
            else stock_backward(grad_out, x, grad, ctx.padding, mask)[0]
        )
    return back, _conv(x, grad, ctx.padding, ctx.tile) if needs[1] else None, None, None


register_autograd(input_grad, _setup, _backward_input_grad, input_grad_plain)
register_autograd(weight_grad, _setup, _backward_weight_grad, weight_grad_plain)
