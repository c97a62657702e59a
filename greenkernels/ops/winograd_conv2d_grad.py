"""Gradients and autocast of winograd_conv2d and winograd_conv2d_packed.

The backward pass of the convolution is winograd_conv2d_input_grad and winograd_conv2d_weight_grad where these pay,
else torch's own. The three are linear in each of their two tensors and each other's gradients, so that all are
differentiable any number of times. What an activation needs is its output where that suffices, else its input,
computed once more by the same kernel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import _library
from . import activation as activations
from ._library import register_autocast, register_autograd, register_out
from .maps import suggested_format
from .winograd_conv2d_checks import out_shape
from .winograd_conv2d_grad_op import (
    input_grad,
    input_grad_plain,
    stock_backward,
    weight_grad,
    weight_grad_plain,
)
from .winograd_conv2d_op import (
    conv,
    conv_out,
    conv_plain,
    pack,
    packed_conv,
    packed_conv_out,
    packed_plain,
    unpack,
)
from .winograd_transforms import pack as pack_plain

# Of the weight gradient: tile 6 would amplify its rounding errors another 3.6 times (docs/winograd_conv2d.md).
_LARGEST_TILE = 4
_LEAST_CHANNELS = 16  # of either side: 8 to 8 channels of 56 x 56 are no faster than torch's, 16 to 16 are
_LEAST_TILES = 40  # of the input's gradient: 512 channels gain nothing at 32 (7 x 7, batch 8), 1.1x at 64


def _save(
    ctx: Any, tensors: tuple[Tensor, ...], bias: Tensor | None, options: Sequence[Any], output: Tensor
) -> None:
    """Keeps what the backward pass reads, and no more than the activation asks for."""
    ctx.padding, ctx.tile, ctx.activation, param, skip, ctx.skip_scale = options
    ctx.has_bias = bias is not None
    from_output = ctx.activation in activations.FROM_OUTPUT
    from_input = ctx.activation is not None and not from_output
    ctx.save_for_backward(
        *tensors,
        param,
        bias if from_input else None,
        skip if from_input else None,
        output if from_output else None,
    )


def _through_activation(
    ctx: Any, grad: Tensor, output: Tensor | None, param: Tensor | None, recompute: Callable[[], Tensor]
) -> tuple[Tensor, Tensor | None]:
    """Gradients with respect to the activation's input and its slopes."""
    if ctx.activation is None:
        return grad, None
    if output is not None:
        return activations.grad_from_output(ctx.activation, grad, output), None
    return activations.grad_from_input(ctx.activation, grad, recompute(), param)


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


def _through_conv(
    ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, mask: list[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients with respect to input, weight and bias, those that ``mask`` asks for."""
    if 0 in (*x.shape, *weight.shape):  # torch's formula takes no empty map
        grad_bias = grad.sum((0, 2, 3)) if mask[2] else None
        return (
            torch.zeros_like(x) if mask[0] else None,
            torch.zeros_like(weight) if mask[1] else None,
            grad_bias,
        )
    ours_x, ours_weight = _worth_kernels(x, weight, ctx.padding, ctx.tile, mask)
    if ours_x or ours_weight:
        grad = grad.contiguous(
            memory_format=suggested_format(x)
        )  # the gradient of x gets its format, as in torch
    grad_x = grad_weight = grad_bias = None
    rest = [mask[0] and not ours_x, mask[1] and not ours_weight, mask[2]]
    if rest[0] or rest[1]:
        bias_sizes = [weight.shape[0]] if ctx.has_bias else None
        grad_x, grad_weight, grad_bias = stock_backward(grad, x, weight, ctx.padding, rest, bias_sizes)
    elif mask[2]:
        grad_bias = grad.sum((0, 2, 3))
    if ours_x:
        grad_x = input_grad(grad, weight, ctx.padding, ctx.tile)
    if ours_weight:
        grad_weight = weight_grad(x, grad, ctx.padding, min(ctx.tile, _LARGEST_TILE))
    return grad_x, grad_weight, grad_bias


def _setup_conv(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, *options = args
    _save(ctx, (x, weight), bias, options, output)


def _backward_conv(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
    x, weight, param, bias, skip, output = ctx.saved_tensors

    def recompute() -> Tensor:
        return conv(x, weight, bias, ctx.padding, ctx.tile, None, None, skip, ctx.skip_scale)

    grad, grad_param = _through_activation(ctx, grad, output, param, recompute)
    grad_skip = grad * ctx.skip_scale if needs[7] else None
    grads = _through_conv(ctx, grad, x, weight, list(needs[:3]))
    return *grads, None, None, None, grad_param if needs[6] else None, grad_skip, None


def _setup_packed(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    x, packed, bias, ctx.out_channels, *options = args
    if packed.requires_grad:
        raise RuntimeError(
            "winograd_conv2d_packed: packed must not require a gradient, got requires_grad=True; "
            "train with winograd_conv2d"
        )
    _save(ctx, (x, packed), bias, options, output)


def _backward_packed(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
    x, packed, param, bias, skip, output = ctx.saved_tensors

    def recompute() -> Tensor:
        options = (ctx.out_channels, ctx.padding, ctx.tile, None, None, skip, ctx.skip_scale)
        return packed_conv(x, packed, bias, *options)

    grad, grad_param = _through_activation(ctx, grad, output, param, recompute)
    grad_skip = grad * ctx.skip_scale if needs[8] else None
    weight = unpack(packed, ctx.out_channels, x.shape[1], ctx.tile).to(x.dtype)
    grad_x, _, grad_bias = _through_conv(ctx, grad, x, weight, [needs[0], False, needs[2]])
    return grad_x, None, grad_bias, None, None, None, None, grad_param if needs[7] else None, grad_skip, None


def _setup_grad(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    one, other, ctx.padding, ctx.tile = args
    ctx.save_for_backward(one, other)


def _backward_input_grad(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
    grad_out, weight = ctx.saved_tensors  # `grad` has the shape of the input
    back = conv(grad, weight, None, ctx.padding, ctx.tile, None, None, None, 1.0) if needs[0] else None
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
    options = (ctx.padding, ctx.tile, None, None, None, 1.0)
    return back, conv(x, grad, None, *options) if needs[1] else None, None, None


def _setup_pack(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    ctx.mark_non_differentiable(output)


def _backward_pack(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[None, None]:
    return None, None


register_autograd(conv, _setup_conv, _backward_conv, conv_plain)
register_autograd(packed_conv, _setup_packed, _backward_packed, packed_plain)
register_autograd(input_grad, _setup_grad, _backward_input_grad, input_grad_plain)
register_autograd(weight_grad, _setup_grad, _backward_weight_grad, weight_grad_plain)
register_autograd(pack, _setup_pack, _backward_pack, pack_plain)
register_out(conv_out)
register_out(packed_conv_out)
register_autocast(conv, tensors=(0, 1, 2, 6, 7))
register_autocast(
    packed_conv, tensors=(0, 2, 7, 8)
)  # packed stays float32, as it is for every half-precision input
