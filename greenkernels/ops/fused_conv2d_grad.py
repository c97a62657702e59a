"""Gradients and autocast of the ops of ``fused_conv2d.py``.

The backward pass is the stem's own where it has one, else torch's convolution backward, which is differentiable again.
What an activation needs for it is its output where that suffices, else its input, computed once more by the same
kernel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import activation as activations
from ._library import register_autocast, register_autograd, register_out
from .fused_conv2d import FusedConv2d, Stem


def _save(
    ctx: Any, tensors: tuple[Tensor, ...], bias: Tensor | None, options: Sequence[Any], output: Tensor
) -> None:
    """Keeps what the backward pass reads, and no more than the activation asks for."""
    *ctx.kernel, ctx.activation, param, skip, ctx.skip_scale = options
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


def _through_conv(
    ctx: Any, stem: Stem, grad: Tensor, x: Tensor, weight: Tensor, mask: list[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients with respect to input, weight and bias, those that ``mask`` asks for."""
    if 0 in (*x.shape, *weight.shape):  # torch's formula takes no empty map
        grad_bias = grad.sum((0, 2, 3)) if mask[2] else None
        return (
            torch.zeros_like(x) if mask[0] else None,
            torch.zeros_like(weight) if mask[1] else None,
            grad_bias,
        )
    bias_sizes = [weight.shape[0]] if ctx.has_bias else None
    if stem.backward is not None:
        return stem.backward(grad, x, weight, bias_sizes, mask, *ctx.kernel)
    stride, padding, dilation, groups = stem.geometry(weight, *ctx.kernel)
    return torch.ops.aten.convolution_backward(
        grad, x, weight, bias_sizes, stride, padding, dilation, False, [0, 0], groups, mask
    )


def _register_conv(ops: FusedConv2d) -> None:
    def setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, *options = args
        _save(ctx, (x, weight), bias, options, output)

    def backward(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
        x, weight, param, bias, skip, output = ctx.saved_tensors

        def recompute() -> Tensor:
            return ops.conv(x, weight, bias, *ctx.kernel, None, None, skip, ctx.skip_scale)

        grad, grad_param = _through_activation(ctx, grad, output, param, recompute)
        grad_skip = grad * ctx.skip_scale if needs[-2] else None
        grads = _through_conv(ctx, ops.stem, grad, x, weight, list(needs[:3]))
        nothing = (None,) * (len(ctx.kernel) + 1)  # for these and the name of the activation
        return *grads, *nothing, grad_param if needs[-3] else None, grad_skip, None

    register_autograd(ops.conv, setup, backward, ops.conv_plain)


def _register_packed(ops: FusedConv2d) -> None:
    name = ops.packed_conv._schema.name.split("::")[1]

    def setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
        x, packed, bias, *rest = args
        if packed.requires_grad:
            raise RuntimeError(
                f"{name}: packed must not require a gradient, got requires_grad=True; "
                f"train with {ops.stem.name}"
            )
        ctx.args = (*rest[:-3], None, None, rest[-1])  # without the tensors among them
        _save(ctx, (x, packed), bias, ops.options_of(rest), output)

    def backward(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
        x, packed, param, bias, skip, output = ctx.saved_tensors

        def recompute() -> Tensor:
            return ops.packed_conv(x, packed, bias, *ctx.args[:-4], None, None, skip, ctx.skip_scale)

        grad, grad_param = _through_activation(ctx, grad, output, param, recompute)
        grad_skip = grad * ctx.skip_scale if needs[-2] else None
        weight = ops.unpacked(x, packed, ctx.args).to(x.dtype)
        grad_x, _, grad_bias = _through_conv(ctx, ops.stem, grad, x, weight, [needs[0], False, needs[2]])
        nothing = (None,) * (len(ctx.args) - 3)
        return grad_x, None, grad_bias, *nothing, grad_param if needs[-3] else None, grad_skip, None

    register_autograd(ops.packed_conv, setup, backward, ops.packed_plain)


def _register_pack(ops: FusedConv2d) -> None:
    def setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    def backward(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[None, ...]:
        return (None,) * len(needs)

    register_autograd(ops.pack, setup, backward, ops.stem.pack_plain)


def register_gradients(ops: FusedConv2d) -> None:
    """Registers the gradients and autocast kernels of all ops of a stem."""
    _register_conv(ops)
    _register_packed(ops)
    _register_pack(ops)
    for op, first in ((ops.conv, (0, 1, 2)), (ops.packed_conv, (0, 2))):
        count = len(op._schema.arguments)
        # A packed weight stays float32, as it is for every half-precision input.
        register_autocast(op, tensors=(*first, count - 3, count - 2))
    register_out(ops.conv_out)
    register_out(ops.packed_conv_out)
