"""Activations, softmax, dropout in eval mode, and layers that only move elements."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from ..counts import Call, Counts, Uncounted, rule

# Operations an element, as the formula in torch's documentation is written; a special function is one operation.
OPERATIONS: dict[type[nn.Module], int] = {
    nn.ReLU: 1,  # max
    nn.ReLU6: 2,  # max, min
    nn.Hardtanh: 2,
    nn.LeakyReLU: 2,  # compare, multiply
    nn.PReLU: 2,
    nn.Sigmoid: 4,  # negate, exp, add, divide
    nn.SiLU: 5,  # and multiply
    nn.Tanh: 1,
    nn.Hardsigmoid: 4,  # add, max, min, divide
    nn.Hardswish: 5,  # and multiply
    nn.ELU: 4,  # compare, exp, subtract, multiply
    nn.Mish: 4,  # exp, log(1 + x) as one, tanh, multiply
    nn.Softsign: 3,  # abs, add, divide
}
GELU_ERF = 5  # multiply, erf, add, multiply, multiply
GELU_TANH = 9  # x^3 (2), multiply, add, multiply, tanh, add, multiply, multiply
SOFTMAX = 5  # max, subtract, exp, sum, divide

# The names that gk.ops gives to fused activations.
FUSED = {
    "relu": OPERATIONS[nn.ReLU],
    "relu6": OPERATIONS[nn.ReLU6],
    "leaky_relu": OPERATIONS[nn.LeakyReLU],
    "prelu": OPERATIONS[nn.PReLU],
    "silu": OPERATIONS[nn.SiLU],
    "gelu": GELU_ERF,
    "sigmoid": OPERATIONS[nn.Sigmoid],
    "tanh": OPERATIONS[nn.Tanh],
    "hardswish": OPERATIONS[nn.Hardswish],
    "hardsigmoid": OPERATIONS[nn.Hardsigmoid],
}


@rule(*OPERATIONS)
def activation(module: nn.Module, call: Call) -> Counts:
    elements = math.prod(call.input)
    return call.work(elements * OPERATIONS[type(module)], elements, (getattr(module, "weight", None),))


@rule(nn.GELU)
def gelu(module: nn.GELU, call: Call) -> Counts:
    elements = math.prod(call.input)
    return call.work(elements * (GELU_ERF if module.approximate == "none" else GELU_TANH), elements)


@rule(nn.Softmax, nn.Softmax2d, nn.LogSoftmax)
def softmax(module: nn.Module, call: Call) -> Counts:
    """5 operations an element; the logarithm of `nn.LogSoftmax`, one a row, is left out."""
    elements = math.prod(call.input)
    return call.work(SOFTMAX * elements, elements)


@rule(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
def dropout(module: nn.Module, call: Call) -> Counts:
    if module.training:
        raise Uncounted("draws random numbers in training mode, which no rule counts")
    return call.work(0, 0, inputs=0)  # hands its input on: exactly nothing is computed or moved


@rule(nn.Identity)
def identity(module: nn.Module, call: Call) -> Counts:
    return call.work(0, 0, inputs=0)


@rule(nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)
def rearrangement(module: nn.Module, call: Call) -> Counts:
    return call.work(0, math.prod(call.input))


@rule(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)
@rule(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d)
@rule(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d)
def padding(module: nn.Module, call: Call) -> Counts:
    """No operation; the input is read, the larger output written."""
    pads = module.padding
    sizes = list(call.input)
    for axis in range(len(pads) // 2):
        sizes[-1 - axis] += pads[2 * axis] + pads[2 * axis + 1]
    return call.work(0, math.prod(sizes))


@rule(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def upsample(module: nn.Upsample, call: Call) -> Counts:
    """Nearest: 0 operations; linear in d dimensions: 2^d - 1 interpolations of 3 operations an output element."""
    dims = len(call.input) - 2
    scaled = _scaled(module, dims)
    outputs = math.prod(call.input[:2]) * math.prod(map(scaled, range(dims), call.input[2:]))
    if module.mode.startswith("nearest"):
        return call.work(0, outputs)
    if module.mode in ("linear", "bilinear", "trilinear"):
        return call.work(3 * (2**dims - 1) * outputs, outputs)
    raise Uncounted(f"mode={module.mode!r} has no counting rule")


def _scaled(module: nn.Upsample, dims: int) -> Callable[[int, int], int]:
    def per_dim(value: object) -> tuple:
        return value if isinstance(value, tuple) else (value,) * dims

    sizes, factors = per_dim(module.size), per_dim(module.scale_factor)
    return lambda i, size: sizes[i] if module.size is not None else math.floor(size * factors[i])
