"""Problems of the blocks of mobile networks: a depthwise convolution between two of 1x1, the first optional."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import stock
import torch
from convolutions import KERNELS, channels_of, conv, geometry_of, map_of
from inputs import KINDS, finite, laid, values
from products import Maker
from torch import Tensor, nn
from verdicts import Bound, Problem, rounding_bound

from greenkernels import ops
from greenkernels.nn import InvertedBottleneck, SeparableConv2d

_ACTIVATIONS: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda x: x,
    "relu": torch.relu,
    "relu6": nn.functional.relu6,
}
_EXACT = 2.0**24  # float32 holds integers below


class Layer(NamedTuple):
    """One convolution of a block, and what follows it."""

    weight: Tensor
    bias: Tensor | None
    geometry: dict[str, Any]
    activation: str | None


def _layer(choose: random.Random, shape: tuple[int, ...], kind: str, geometry: dict[str, Any]) -> Layer:
    """Activations move no error, but hide where what is not finite went."""
    bias = values(choose, shape[:1], kind, torch.float32) if choose.random() < 0.5 else None
    return Layer(
        values(choose, shape, kind, torch.float32), bias, geometry, choose.choice(list(_ACTIVATIONS))
    )


def _after(layer: Layer, x: Tensor, error: Tensor, skip: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The map behind a layer in float64, how far from it the kernel may be, and the size of all terms."""
    weight, bias, geometry, activation = layer
    out = conv(x, weight, bias, geometry)
    terms = conv(finite(x).abs() + error, weight.abs(), None if bias is None else bias.abs(), geometry)
    if skip is not None:
        out, terms = out + skip, terms + finite(skip).abs()
    depth = weight[0].numel() if weight.numel() else 0
    least = float(weight.abs().max()) if weight.numel() else 0.0
    moved = conv(error, weight.abs(), None, geometry) + rounding_bound(terms, depth, least)
    return _ACTIVATIONS[activation](out), moved, terms


class Block(NamedTuple):
    """What was drawn."""

    x: Tensor
    layers: list[Layer]
    integers: bool
    residual: bool  # the input is added
    skip: Tensor | None  # or this, times skip_scale
    skip_scale: float

    def exact(self, x: Tensor) -> tuple[Tensor, Bound]:
        """In float64, from layer to layer."""
        out, error, largest = x.double(), torch.zeros_like(x, dtype=torch.float64), 0.0
        added = None if self.skip is None else self.skip_scale * self.skip.double()
        added = x.double() if self.residual else added
        for layer in self.layers:
            out, error, terms = _after(layer, out, error, added if layer is self.layers[-1] else None)
            largest = max(largest, float(terms.max()) if terms.numel() else 0.0)
        return out, 0.0 if self.integers and largest < _EXACT else error


def block(choose: random.Random, size: str, expand: bool, may_skip: bool) -> Block:
    """A block of float32."""
    kernel = choose.choice(KERNELS)
    geometry, least = geometry_of(choose, kernel)
    batch, in_c, hidden, out_c = channels_of(choose, size, 3)
    residual = choose.random() < 0.3
    if residual:
        kernel, geometry, least, out_c = (3, 3), {"padding": (1, 1)}, [1, 1], in_c
    hidden = hidden if expand else in_c
    kind = choose.choice(KINDS)
    x = values(choose, (batch, in_c, *map_of(choose, size, least)), kind, torch.float32)
    other = "integers" if kind == "integers" else "uniform"
    shapes = [(hidden, in_c, 1, 1)] if expand else []
    layers = [_layer(choose, shape, other, {}) for shape in shapes]
    layers.append(_layer(choose, (hidden, 1, *kernel), other, {**geometry, "groups": hidden}))
    layers.append(_layer(choose, (out_c, hidden, 1, 1), other, {}))
    skip = None
    if may_skip and not residual and choose.random() < 0.3:
        shape = conv(
            x.new_zeros(batch, hidden, *x.shape[2:]), layers[-2].weight, None, layers[-2].geometry
        ).shape
        skip = values(choose, (batch, out_c, *shape[2:]), other, torch.float32)
        skip = laid(skip, choose.choice(["contiguous", "channels_last"]))
    return Block(x, layers, kind == "integers", residual, skip, choose.choice([1.0, -0.5]))


def separable_conv2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    drawn = block(choose, size, choose.random() < 0.5, may_skip=True)
    *first, middle, last = drawn.layers
    expand = first[0] if first else None
    options = {
        **{name: value for name, value in middle.geometry.items() if name != "groups"},
        "hidden_channels": middle.weight.shape[0],
        "out_channels": last.weight.shape[0],
        "kernel_size": tuple(middle.weight.shape[2:]),
        "expand": expand and ops.direct_conv2d_pack(expand.weight),
        "expand_bias": expand and expand.bias,
        "expand_activation": expand and expand.activation,
        "depthwise_bias": middle.bias,
        "depthwise_activation": middle.activation,
        "project_bias": last.bias,
        "activation": last.activation,
        "skip_scale": 1.0 if drawn.residual else drawn.skip_scale,
    }
    weights = ops.depthwise_conv2d_pack(middle.weight), ops.direct_conv2d_pack(last.weight)

    def call(x: Tensor) -> Tensor:
        return ops.separable_conv2d_packed(x, *weights, skip=x if drawn.residual else drawn.skip, **options)

    return Problem(drawn.x, (call,), drawn.exact)


def _module(choose: random.Random, size: str, kind: Any, expand: bool) -> Problem:
    """Of layers that torch has: it takes no depthwise convolution without channels."""
    drawn = block(choose, size, expand, may_skip=False)
    if drawn.layers[-2].weight.shape[0] == 0:
        return separable_conv2d(choose, size, torch.float32)
    parts: list[nn.Module] = []
    names = {"relu": nn.ReLU, "relu6": nn.ReLU6}
    for weight, bias, geometry, activation in drawn.layers:
        parts += [stock.conv(weight, bias, geometry), *([names[activation]()] if activation else [])]
    return Problem(
        drawn.x, stock.calls_of(kind.from_modules(*parts, residual=drawn.residual), -1), drawn.exact
    )


def separable_module(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    return _module(choose, size, SeparableConv2d, choose.random() < 0.5)


def bottleneck_module(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    return _module(choose, size, InvertedBottleneck, True)


MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {"separable_conv2d": (separable_conv2d, ("float32",))}
