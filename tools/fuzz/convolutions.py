"""Problems of the convolutions: each function draws one."""

from __future__ import annotations

import random
from typing import Any

import torch
import torch.nn.functional as F
from inputs import KINDS, LAYOUTS, finite, laid, sizes, values
from products import FLOATS, Maker, sparse
from torch import Tensor
from verdicts import Bound, Call, Problem, rounding_bound
from winograd_cases import TILES
from winograd_cases import tolerance as winograd_tolerance

from greenkernels import ops
from greenkernels.ops.csr_matmul_op import pack as csr_pack

_PLAIN = (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1)))
KERNELS = ((1, 1), (3, 3), (3, 3), (5, 5), (2, 4), (1, 7), (4, 1))
Epilogue = dict[str, Any]  # activation, skip, skip_scale


def geometry_of(choose: random.Random, kernel: tuple[int, int]) -> tuple[dict[str, Any], list[int]]:
    """Stride, padding and dilation, and the smallest map that holds the filter."""
    stride, dilation = (tuple(choose.choice([1, 1, 2, 3]) for _ in range(2)) for _ in range(2))
    padding = (choose.randint(0, 4), choose.randint(0, 4))
    least = [max(0, dilation[d] * (kernel[d] - 1) + 1 - 2 * padding[d]) for d in (0, 1)]
    return {"stride": stride, "padding": padding, "dilation": dilation}, least


def map_of(choose: random.Random, size: str, least: list[int]) -> list[int]:
    more = {"empty": 3, "one": 1, "prime": 8, "edge": 10, "large": 24, "long": 5}[size]
    found = [max(low, size != "empty") + choose.randint(0, more) for low in least]
    if size == "long" and choose.random() < 0.3:
        found[choose.randrange(2)] += choose.choice((60, 127, 256))
    return found


def channels_of(choose: random.Random, size: str, count: int) -> list[int]:
    """Batch and channels; "large" maps come with few of them."""
    batch, *channels = sizes(choose, "prime" if size == "large" else size, count + 1, 65)
    if size == "long":
        channels = [min(c, 257) for c in channels]
    if size in ("edge", "large"):
        small = choose.randrange(count)
        channels[small] = min(channels[small], 17 if size == "edge" else 7)
    return [min(batch, 2), *channels]


def terms_of(choose: random.Random, shape: tuple[int, ...], w_shape: tuple[int, ...], dtype: torch.dtype):
    """The kind of the values, the map, the filter in a layout of its own, and a bias or none."""
    kind = choose.choice(KINDS)
    other = kind if kind in ("integers", "scaled") else "uniform"
    x = values(choose, shape, kind, dtype)
    weight = laid(values(choose, w_shape, other, dtype), choose.choice(LAYOUTS[:4]))
    bias = values(choose, w_shape[:1], other, dtype) if choose.random() < 0.5 else None
    return kind, x, weight, bias


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: dict[str, Any]) -> Tensor:
    """In float64 as one product of matrices for each group, on views of the windows; dilated, torch's is slow."""
    (sh, sw), (ph, pw), (dh, dw) = (geometry.get(name, default) for name, default in _PLAIN)
    groups, (out_c, depth, kh, kw) = geometry.get("groups", 1), weight.shape
    high, wide = dh * (kh - 1) + 1, dw * (kw - 1) + 1
    padded = F.pad(x.double(), (pw, pw, ph, ph))
    rows, columns = (padded.shape[2] - high) // sh + 1, (padded.shape[3] - wide) // sw + 1
    if rows <= 0 or columns <= 0:
        return padded.new_zeros(padded.shape[0], out_c, max(0, rows), max(0, columns))
    windows = padded.unfold(2, high, sh).unfold(3, wide, sw)[..., ::dh, ::dw]
    batch, _, out_h, out_w = windows.shape[:4]
    if not groups:
        return x.new_zeros(batch, 0, out_h, out_w, dtype=torch.float64)
    columns = windows.reshape(batch, groups, depth, out_h, out_w, kh, kw).permute(1, 2, 5, 6, 0, 3, 4)
    columns = columns.reshape(groups, depth * kh * kw, batch * out_h * out_w)
    out = weight.double().reshape(groups, out_c // groups, depth * kh * kw) @ columns
    out = out.reshape(out_c, batch, out_h, out_w).transpose(0, 1)
    return out if bias is None else out + bias.double().view(1, -1, 1, 1)


def epilogue_of(choose: random.Random, kind: str, x: Tensor, weight: Tensor, geometry: Any) -> Epilogue:
    """What is fused: nothing, an addition, a ReLU, or both. ReLU moves no error, but hides that -inf may spread."""
    options: Epilogue = {"activation": "relu"} if choose.random() < 0.25 and kind != "nonfinite" else {}
    if choose.random() < 0.25:
        shape = conv(x, weight, None, geometry).shape
        other = kind if kind in ("integers", "scaled") else "uniform"
        skip = laid(
            values(choose, tuple(shape), other, x.dtype), choose.choice(["contiguous", "channels_last"])
        )
        options |= {"skip": skip, "skip_scale": choose.choice([1.0, -0.5, 2.0])}
    return options


def finished(out: Tensor, terms: Tensor | None, epilogue: Epilogue) -> tuple[Tensor, Tensor | None]:
    """What the fused part makes of results, and the size of all terms."""
    if "skip" in epilogue:
        added = epilogue["skip_scale"] * epilogue["skip"].double()
        out, terms = out + added, terms if terms is None else terms + added.abs()
    return (out.relu() if "activation" in epilogue else out), terms


def case(
    kind: str,
    calls: tuple[Call, ...],
    terms: tuple[Tensor, Tensor, Tensor | None],
    geometry: dict[str, Any],
    epilogue: Epilogue | None = None,
) -> Problem:
    """The problem of a map, a filter and a bias."""
    x, weight, bias = terms
    magnitude, size = weight.abs(), None if bias is None else bias.abs()
    depth = weight[0].numel() if weight.numel() else 0
    least = weight.abs().max().item() if weight.numel() else 0.0

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        expected = conv(x, weight, bias, geometry)
        if kind == "integers":
            return finished(expected, None, epilogue or {})[0], 0.0
        sums = conv(finite(x).double().abs(), magnitude, size, geometry)
        expected, sums = finished(expected, sums, epilogue or {})
        return expected, rounding_bound(sums, depth, least, x.dtype)

    about = {"weight": weight, "bias": bias, "geometry": geometry, "epilogue": epilogue or {}}
    return Problem(x, calls, exact, like=x.dtype, about=about)


def direct_conv2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kernel, groups = choose.choice(KERNELS), choose.choice([1, 1, 2, 3])
    geometry, least = geometry_of(choose, kernel)
    batch, in_c, out_c = channels_of(choose, size, 2)
    geometry["groups"] = groups
    shape = (batch, in_c * groups, *map_of(choose, size, least))
    kind, x, w, bias = terms_of(choose, shape, (out_c * groups, in_c, *kernel), dtype)
    epilogue = epilogue_of(choose, kind, x, w, geometry)
    packed = ops.direct_conv2d_pack(w, groups)
    about = {"out_channels": w.shape[0], "kernel_size": kernel, **geometry, **epilogue}
    calls = (
        lambda x: ops.direct_conv2d(x, w, bias, **geometry, **epilogue),
        lambda x: ops.direct_conv2d_packed(x, packed, bias, **about),
    )
    return case(kind, calls, (x, w, bias), geometry, epilogue)


def depthwise_conv2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kernel = choose.choice(KERNELS)
    geometry, least = geometry_of(choose, kernel)
    batch, channels = channels_of(choose, size, 1)
    shape = (batch, channels, *map_of(choose, size, least))
    kind, x, w, bias = terms_of(choose, shape, (channels, 1, *kernel), dtype)
    grouped = {**geometry, "groups": channels}
    epilogue = epilogue_of(choose, kind, x, w, grouped)
    packed = ops.depthwise_conv2d_pack(w)
    calls = (
        lambda x: ops.depthwise_conv2d(x, w, bias, **geometry, **epilogue),
        lambda x: ops.depthwise_conv2d_packed(x, packed, bias, kernel_size=kernel, **geometry, **epilogue),
    )
    return case(kind, calls, (x, w, bias), grouped, epilogue)


def winograd_conv2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    tile, padding = choose.choice(TILES), (choose.randint(0, 3), choose.randint(0, 3))
    batch, in_c, out_c = channels_of(choose, size, 2)
    shape = (batch, in_c, *map_of(choose, size, [max(0, 3 - 2 * p) for p in padding]))
    kind, x, w, bias = terms_of(choose, shape, (out_c, in_c, 3, 3), dtype)
    epilogue = epilogue_of(choose, kind, x, w, {"padding": padding})
    options = {"padding": padding, "tile": tile, **epilogue}
    packed = ops.winograd_conv2d_pack(w, tile)
    calls = (
        lambda x: ops.winograd_conv2d(x, w, bias, **options),
        lambda x: ops.winograd_conv2d_packed(x, packed, bias, out_channels=out_c, **options),
    )
    skip, scale = options.get("skip"), options.get("skip_scale", 1.0)

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        expected, _ = finished(conv(x, w, bias, {"padding": padding}), None, options)
        if kind == "integers" and tile == 2 and dtype in (torch.float32, torch.float64):
            return expected, 0.0
        return expected, winograd_tolerance(expected, finite(x), w, tile, bias, skip, scale) + 1e-30

    about = {"weight": w, "bias": bias, "geometry": {"padding": padding}, "epilogue": epilogue, "tile": tile}
    return Problem(x, calls, exact, like=dtype, spreads=True, about=about)


def strassen_conv2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    batch, in_c, out_c = channels_of(choose, size, 2)
    levels, shape = choose.choice([0, 0, 1, 2]), (batch, in_c, *map_of(choose, size, [0, 0]))
    kind, x, w, bias = terms_of(choose, shape, (out_c, in_c, 1, 1), dtype)
    epilogue = epilogue_of(choose, kind, x, w, {})
    packed = ops.strassen_conv2d_pack(w, levels)
    about = {"out_channels": out_c, "levels": levels, **epilogue}
    calls = (
        lambda x: ops.strassen_conv2d(x, w, bias, levels=levels, **epilogue),
        lambda x: ops.strassen_conv2d_packed(x, packed, bias, **about),
    )
    problem = case(kind, calls, (x, w, bias), {}, epilogue)
    problem.about["levels"] = levels
    direct = problem.exact

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        expected, bound = direct(x)
        if isinstance(bound, Tensor) and bound.numel():
            bound = 4**levels * bound.max().expand_as(bound)
        return expected, bound

    if levels:
        problem.exact, problem.spreads = exact, True
    return problem


def csr_conv2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kernel = choose.choice(KERNELS)
    geometry, least = geometry_of(choose, kernel)
    batch, in_c, out_c = channels_of(choose, size, 2)
    shape = (batch, in_c, *map_of(choose, size, least))
    kind, x, w, bias = terms_of(choose, shape, (out_c, in_c, *kernel), dtype)
    if kind == "nonfinite":  # what is not stored multiplies nothing: compared where all is finite
        x = x.nan_to_num(1.0, 1.0, -1.0)
    w = sparse(choose, w)
    csr = w.reshape(out_c, in_c * kernel[0] * kernel[1]).to_sparse_csr()
    packed = csr_pack(csr.crow_indices(), csr.col_indices(), csr.values(), csr.shape[1], 64)
    about = {"out_channels": out_c, "kernel_size": kernel, "nnz": csr.values().numel()}
    calls = (lambda x: ops.csr_conv2d_packed(x, packed, bias, **about, **geometry),)
    problem = case(kind, calls, (x, w, bias), geometry)
    problem.about["warn"] = False  # of the module: it would time itself
    return problem


MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "direct_conv2d": (direct_conv2d, FLOATS),
    "depthwise_conv2d": (depthwise_conv2d, FLOATS),
    "winograd_conv2d": (winograd_conv2d, FLOATS),
    "strassen_conv2d": (strassen_conv2d, FLOATS),
    "csr_conv2d": (csr_conv2d, ("float32", "float16", "bfloat16")),
}
