"""Cases of the convolutions: each function draws one and gives the call with what it must compute."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from inputs import KINDS, LAYOUTS, Case, finite, laid, rounding_bound, sizes, values
from int8_cases import integers
from int8_conv_cases import numpy_conv_sums
from products import FLOATS, Maker
from torch import Tensor
from winograd_cases import TILES
from winograd_cases import reference as winograd_reference
from winograd_cases import tolerance as winograd_tolerance

from greenkernels import ops
from greenkernels.ops.csr_matmul_op import pack as csr_pack

_PLAIN = (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1)))
KERNELS = ((1, 1), (3, 3), (3, 3), (5, 5), (2, 4), (1, 7), (4, 1))


def _geometry(choose: random.Random, kernel: tuple[int, int]) -> tuple[dict[str, Any], list[int]]:
    """Stride, padding and dilation, and the smallest map that holds the filter."""
    stride, dilation = (tuple(choose.choice([1, 1, 2, 3]) for _ in range(2)) for _ in range(2))
    padding = (choose.randint(0, 4), choose.randint(0, 4))
    least = [max(1, dilation[d] * (kernel[d] - 1) + 1 - 2 * padding[d]) for d in (0, 1)]
    return {"stride": stride, "padding": padding, "dilation": dilation}, least


def _map(choose: random.Random, size: str, least: list[int]) -> list[int]:
    more = {"empty": 3, "one": 1, "prime": 8, "edge": 10, "large": 24}[size]
    return [low + choose.randint(0, more) for low in least]


def _channels(choose: random.Random, size: str, count: int) -> list[int]:
    """Batch and channels; "large" maps come with few of them."""
    batch, *channels = sizes(choose, "prime" if size == "large" else size, count + 1, 65)
    if size in ("edge", "large"):
        small = choose.randrange(count)
        channels[small] = min(channels[small], 17 if size == "edge" else 7)
    return [min(batch, 2), *channels]


def _terms(choose: random.Random, shape: tuple[int, ...], w_shape: tuple[int, ...], layout: str, dtype: Any):
    kind = choose.choice(KINDS)
    other = kind if kind in ("integers", "scaled") else "uniform"
    x = laid(values(choose, shape, kind, dtype), layout)
    weight = laid(values(choose, w_shape, other, dtype), choose.choice(LAYOUTS[:4]))
    bias = values(choose, w_shape[:1], other, dtype) if choose.random() < 0.5 else None
    return kind, x, weight, bias


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: dict[str, Any]) -> Tensor:
    """In float64 as one product of matrices for each group, on views of the windows; dilated, torch's is slow."""
    (sh, sw), (ph, pw), (dh, dw) = (geometry.get(name, default) for name, default in _PLAIN)
    groups, (out_c, depth, kh, kw) = geometry.get("groups", 1), weight.shape
    padded = F.pad(x.double(), (pw, pw, ph, ph))
    windows = padded.unfold(2, dh * (kh - 1) + 1, sh).unfold(3, dw * (kw - 1) + 1, sw)[..., ::dh, ::dw]
    batch, _, out_h, out_w = windows.shape[:4]
    columns = windows.reshape(batch, groups, depth, out_h, out_w, kh, kw).permute(1, 2, 5, 6, 0, 3, 4)
    columns = columns.reshape(groups, depth * kh * kw, batch * out_h * out_w)
    out = weight.double().reshape(groups, out_c // groups, depth * kh * kw) @ columns
    out = out.reshape(out_c, batch, out_h, out_w).transpose(0, 1)
    return out if bias is None else out + bias.double().view(1, -1, 1, 1)


def _case(
    kind: str, run: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor, bias: Any, geometry: dict[str, Any]
) -> Case:
    expected = _conv(x, weight, bias, geometry)
    terms = _conv(finite(x).double().abs(), weight.abs(), None if bias is None else bias.abs(), geometry)
    depth = weight[0].numel() if weight.numel() else 0
    least = weight.abs().max().item() if weight.numel() else 0.0
    bound = 0.0 if kind == "integers" else rounding_bound(terms, depth, least, x.dtype)
    return Case(run, x, expected, bound, like=x.dtype)


def direct_conv2d(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    kernel, groups = choose.choice(KERNELS), choose.choice([1, 1, 2, 3])
    geometry, least = _geometry(choose, kernel)
    batch, in_c, out_c = _channels(choose, size, 2)
    geometry["groups"] = groups
    shape = (batch, in_c * groups, *_map(choose, size, least))
    kind, x, w, bias = _terms(choose, shape, (out_c * groups, in_c, *kernel), layout, dtype)
    if choose.random() < 0.5:
        packed, about = ops.direct_conv2d_pack(w, groups), {"out_channels": w.shape[0], "kernel_size": kernel}
        run = lambda x: ops.direct_conv2d_packed(x, packed, bias, **about, **geometry)  # noqa: E731
    else:
        run = lambda x: ops.direct_conv2d(x, w, bias, **geometry)  # noqa: E731
    return _case(kind, run, x, w, bias, geometry)


def depthwise_conv2d(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    kernel = choose.choice(KERNELS)
    geometry, least = _geometry(choose, kernel)
    batch, channels = _channels(choose, size, 1)
    shape = (batch, channels, *_map(choose, size, least))
    kind, x, w, bias = _terms(choose, shape, (channels, 1, *kernel), layout, dtype)
    if choose.random() < 0.5:
        packed = ops.depthwise_conv2d_pack(w)
        run = lambda x: ops.depthwise_conv2d_packed(x, packed, bias, kernel_size=kernel, **geometry)  # noqa: E731
    else:
        run = lambda x: ops.depthwise_conv2d(x, w, bias, **geometry)  # noqa: E731
    if not channels:
        one = _conv(x.new_zeros(batch, 1, *shape[2:]), w.new_zeros(1, 1, *kernel), None, geometry)
        return Case(run, x, one[:, :0], 0.0, like=dtype)
    return _case(kind, run, x, w, bias, {**geometry, "groups": channels})


def winograd_conv2d(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    tile, padding = choose.choice(TILES), (choose.randint(0, 3), choose.randint(0, 3))
    batch, in_c, out_c = _channels(choose, size, 2)
    shape = (batch, in_c, *_map(choose, size, [max(1, 3 - 2 * p) for p in padding]))
    kind, x, w, bias = _terms(choose, shape, (out_c, in_c, 3, 3), layout, dtype)
    expected = winograd_reference(x, w, bias, padding=padding)
    exact = kind == "integers" and tile == 2 and dtype == torch.float32
    bound = 0.0 if exact else winograd_tolerance(expected, finite(x), w, tile, bias) + 1e-30
    if choose.random() < 0.5:
        packed = ops.winograd_conv2d_pack(w, tile)
        about = {"out_channels": out_c, "padding": padding, "tile": tile}
        run = lambda x: ops.winograd_conv2d_packed(x, packed, bias, **about)  # noqa: E731
    else:
        run = lambda x: ops.winograd_conv2d(x, w, bias, padding=padding, tile=tile)  # noqa: E731
    return Case(run, x, expected, bound, spreads=True, like=dtype)


def strassen_conv2d(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    batch, in_c, out_c = _channels(choose, size, 2)
    levels, shape = choose.choice([0, 0, 1, 2]), (batch, in_c, *_map(choose, size, [1, 1]))
    kind, x, w, bias = _terms(choose, shape, (out_c, in_c, 1, 1), layout, dtype)
    run = lambda x: ops.strassen_conv2d(x, w, bias, levels=levels)  # noqa: E731
    case = _case(kind, run, x, w, bias, {})
    if levels:
        case.spreads = True
        if isinstance(case.bound, Tensor) and case.bound.numel():
            case.bound = 4**levels * case.bound.max().expand_as(case.bound)
    return case


def csr_conv2d(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    kernel = choose.choice(KERNELS)
    geometry, least = _geometry(choose, kernel)
    batch, in_c, out_c = _channels(choose, size, 2)
    shape = (batch, in_c, *_map(choose, size, least))
    kind, x, w, bias = _terms(choose, shape, (out_c, in_c, *kernel), layout, dtype)
    if kind == "nonfinite":  # what is not stored multiplies nothing: compared where all is finite
        x = x.nan_to_num(1.0, 1.0, -1.0)
    kept = torch.rand(w.shape, generator=torch.Generator().manual_seed(choose.getrandbits(48)))
    w = torch.where(kept < choose.choice([0.0, 0.1, 0.5, 1.0]), w, torch.zeros((), dtype=dtype))
    csr = w.reshape(out_c, in_c * kernel[0] * kernel[1]).to_sparse_csr()
    values_ = csr.values()
    packed = csr_pack(csr.crow_indices(), csr.col_indices(), values_, csr.shape[1], 64)
    about = {"out_channels": out_c, "kernel_size": kernel, "nnz": values_.numel()}
    run = lambda x: ops.csr_conv2d_packed(x, packed, bias, **about, **geometry)  # noqa: E731
    return _case(kind, run, x, w, bias, geometry)


def int8_conv2d(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    kernel, groups = choose.choice(KERNELS), choose.choice([1, 1, 2, 3])
    geometry, least = _geometry(choose, kernel)
    geometry["groups"] = groups
    batch, in_c, out_c = _channels(choose, size, 2)
    shape = (batch, in_c * groups, *_map(choose, size, least))
    x = laid(integers(shape, dtype, choose.getrandbits(32)), layout)
    w = integers((out_c * groups, in_c, *kernel), torch.int8, choose.getrandbits(32))
    zero = torch.tensor([choose.randint(0, 127)], dtype=torch.int32) if choose.random() < 0.5 else None
    sums = torch.from_numpy(numpy_conv_sums(x, w, zero, **geometry))
    run = lambda x: ops.int8_conv2d(x, w, input_zero_point=zero, **geometry)  # noqa: E731
    return Case(run, x, sums, 0.0, like=torch.int32)


MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "direct_conv2d": (direct_conv2d, FLOATS),
    "depthwise_conv2d": (depthwise_conv2d, FLOATS),
    "winograd_conv2d": (winograd_conv2d, FLOATS),
    "strassen_conv2d": (strassen_conv2d, FLOATS),
    "csr_conv2d": (csr_conv2d, ("float32",)),
    "int8_conv2d": (int8_conv2d, ("uint8", "int8")),
}
