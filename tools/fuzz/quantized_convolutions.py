"""Problems of the convolutions in 8-bit integers: each function draws one."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from convolutions import KERNELS, channels_of, conv, geometry_of, map_of
from inputs import LAYOUTS, finite, laid, values
from int8_cases import EPS, integers
from products import HALVES, Maker, quantized_rows
from test_int8_winograd_conv2d import oracle as winograd_oracle
from torch import Tensor
from verdicts import Bound, Problem

from greenkernels import ops

Exact = Callable[[Tensor], tuple[Tensor, Bound]]


def _drawn_shapes(
    choose: random.Random, size: str
) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shapes of the map and the filter, and the geometry."""
    kernel, groups = choose.choice(KERNELS), choose.choice([1, 1, 2, 3])
    geometry, least = geometry_of(choose, kernel)
    batch, in_c, out_c = channels_of(choose, size, 2)
    geometry["groups"] = groups
    return (batch, in_c * groups, *map_of(choose, size, least)), (out_c * groups, in_c, *kernel), geometry


def int8_conv2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    shape, w_shape, geometry = _drawn_shapes(choose, size)
    w = integers(w_shape, torch.int8, choose.getrandbits(32))
    if dtype.is_floating_point:
        return _int8_of_floats(choose, float_maps(choose, shape, dtype), w, geometry)
    x = integers(shape, dtype, choose.getrandbits(32))
    if choose.random() < 0.2:  # the ends of the ranges
        x, w = torch.full_like(x, torch.iinfo(dtype).max), torch.full_like(w, -128)
    zero = torch.tensor([choose.randint(0, 127)], dtype=torch.int32) if choose.random() < 0.5 else None
    packed = ops.int8_conv2d_pack(w, geometry["groups"])
    about = {"out_channels": w.shape[0], "kernel_size": w_shape[2:], "input_zero_point": zero, **geometry}
    calls = (
        lambda x: ops.int8_conv2d(x, w, input_zero_point=zero, **geometry),
        lambda x: ops.int8_conv2d_packed(x, packed, **about),
    )

    def exact(x: Tensor) -> tuple[Tensor, Bound]:  # float64 holds these sums
        return conv(x.double() - (0 if zero is None else zero), w, None, geometry), 0.0

    return Problem(x, calls, exact, like=torch.int32)


def float_maps(choose: random.Random, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Images to quantize, of which one may hold what is not finite."""
    return values(choose, shape, choose.choice(["uniform", "integers", "scaled", "nonfinite"]), dtype)


def of_floats(weight: Tensor, scale: Tensor, bias: Tensor | None, geometry: dict[str, Any]) -> Exact:
    """What the contract makes of float maps: integers image by image, exact sums, then scales and bias.

    Roundings of the sum, two products and the bias, each EPS / 2 of the terms.
    """

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        q, step = quantized_rows(finite(x).float().flatten(1))
        sums = conv(q.reshape(x.shape), weight, None, geometry)
        result = sums * step.reshape(-1, 1, 1, 1) * scale.double().reshape(1, -1, 1, 1)
        shift = torch.zeros(()) if bias is None else bias.double().reshape(1, -1, 1, 1)
        bad = ~x.isfinite().flatten(1).all(1).reshape(-1, 1, 1, 1)
        return (result + shift).masked_fill(bad, torch.nan), 4 * EPS / 2 * (result.abs() + shift.abs())

    return exact


def _int8_of_floats(choose: random.Random, x: Tensor, w: Tensor, geometry: dict[str, Any]) -> Problem:
    scale = values(choose, w.shape[:1], "uniform", torch.float32) + 1.5
    bias = values(choose, w.shape[:1], "uniform", torch.float32) if choose.random() < 0.5 else None
    packed = ops.int8_conv2d_pack(w, geometry["groups"])
    about = {"out_channels": w.shape[0], "kernel_size": tuple(w.shape[2:]), "bias": bias, **geometry}
    calls = (
        lambda x: ops.int8_conv2d(x, w, None, scale, bias=bias, **geometry),
        lambda x: ops.int8_conv2d_packed(x, packed, None, scale, **about),
    )
    return Problem(x, calls, of_floats(w, scale, bias, geometry), like=x.dtype)


def float_parts(
    choose: random.Random, size: str, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None, dict[str, Any], Tensor]:
    """A float filter, a bias or none, the geometry and a map, for a module to quantize."""
    shape, w_shape, geometry = _drawn_shapes(choose, size)
    weight = values(choose, w_shape, "uniform", torch.float32)
    bias = values(choose, w_shape[:1], "uniform", torch.float32) if choose.random() < 0.5 else None
    return weight, bias, geometry, float_maps(choose, shape, dtype)


def winograd_exact(packed: Tensor, scale: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Exact:
    """What the contract makes of each tile; one that sees what is not finite is NaN.

    Roundings of a sum to float, of two scales, of four additions and of the bias: each EPS / 2 of the terms.
    """

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        shape = [x.shape[0], scale.shape[1], *(x.shape[2 + d] + 2 * padding[d] - 2 for d in (0, 1))]
        if 0 in shape:
            return x.new_zeros(shape, dtype=torch.float64), 0.0
        expected, size = winograd_oracle(finite(x), packed, scale, padding)
        shift = torch.zeros(()) if bias is None else bias.double().reshape(1, -1, 1, 1)
        return _tiles_lost(expected + shift, x, padding), 5 * EPS * (size + shift.abs())

    return exact


def _tiles_lost(out: Tensor, x: Tensor, padding: tuple[int, int]) -> Tensor:
    if x.isfinite().all():
        return out
    bad = (~x.isfinite()).any(1, keepdim=True).double()
    more = [2 * ((out.shape[2 + d] + 1) // 2) + 2 - x.shape[2 + d] - padding[d] for d in (0, 1)]
    bad = F.max_pool2d(F.pad(bad, (padding[1], more[1], padding[0], more[0])), 4, 2) > 0
    lost = bad.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, : out.shape[2], : out.shape[3]]
    return out.masked_fill(lost, torch.nan)


def int8_winograd_conv2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    padding = (choose.randint(0, 3), choose.randint(0, 3))
    batch, in_c, out_c = channels_of(choose, size, 2)
    shape = (batch, in_c, *map_of(choose, size, [max(0, 3 - 2 * p) for p in padding]))
    x = float_maps(choose, shape, dtype)
    w = laid(values(choose, (out_c, in_c, 3, 3), "uniform", torch.float32), choose.choice(LAYOUTS[:4]))
    bias = values(choose, (out_c,), "uniform", torch.float32) if choose.random() < 0.5 else None
    packed, scale = ops.int8_winograd_conv2d_pack(w)
    options = {"bias": bias, "padding": padding}
    calls = (
        lambda x: ops.int8_winograd_conv2d(x, w, **options),
        lambda x: ops.int8_winograd_conv2d_packed(x, packed, scale, out_channels=out_c, **options),
    )
    return Problem(x, calls, winograd_exact(packed, scale, bias, padding), like=dtype)


MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "int8_conv2d": (int8_conv2d, ("uint8", "int8", *HALVES)),
    "int8_winograd_conv2d": (int8_winograd_conv2d, HALVES),
}
