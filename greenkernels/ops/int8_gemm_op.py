"""int8_gemm as ops of torch. The contract is ``csrc/api/int8_gemm.h``."""

import math
from typing import Any

import torch
from torch import Tensor

from . import _library, int8_packing
from . import activation as activations
from .int8_gemm_checks import (
    INTEGERS,
    Options,
    check_options,
    check_out,
    check_pack,
    check_packed,
    check_plain,
    check_zero_points,
    out_dtype,
)

GEMM, PACKED, PACK = "int8_gemm", "int8_gemm_packed", "int8_gemm_pack"
_OPTIONS = (
    "Tensor? row_scale, Tensor? col_scale, Tensor? a_zero_point, Tensor? bias, str? activation, "
    "Tensor? activation_param, float? out_scale, int out_zero_point"
)
for _op, _weight in ((GEMM, "Tensor b"), (PACKED, "Tensor packed, SymInt n")):
    _library.define(f"{_op}(Tensor a, {_weight}, {_OPTIONS}) -> Tensor")
    _library.define(f"{_op}.out(Tensor a, {_weight}, {_OPTIONS}, *, Tensor(a!) out) -> ()")
_library.define(f"{PACK}(Tensor b) -> Tensor")
_library.define("int8_gemm_unpack(Tensor packed, SymInt n, SymInt k) -> Tensor")

gemm, gemm_out = torch.ops.greenkernels.int8_gemm.default, torch.ops.greenkernels.int8_gemm.out
packed_gemm = torch.ops.greenkernels.int8_gemm_packed.default
packed_gemm_out = torch.ops.greenkernels.int8_gemm_packed.out
pack, unpack = torch.ops.greenkernels.int8_gemm_pack.default, torch.ops.greenkernels.int8_gemm_unpack.default


# Plain torch: what runs where no kernel is compiled, and on other devices.


def find_quantizer(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point, float32 ``[m]``, by which a row of ``[m, k]`` uses all of [0, 255]; NaN for a bad row."""
    ends = rows.new_zeros(rows.shape[0], 1)
    low, high = torch.cat((rows, ends), 1).aminmax(dim=1)
    scale = (high / 255 - low / 255).clamp_min(2.0**-126)
    bad = ~rows.isfinite().all(1)
    zero = torch.where(bad, 0.0, -torch.round(low * (1 / scale)))
    return torch.where(bad, math.nan, scale), zero


def quantize(rows: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """``clamp(round(rows / scale) + zero, 0, 255)`` in float32; a NaN becomes 0."""
    q = torch.round(rows * (1 / scale).unsqueeze(-1)) + zero.unsqueeze(-1)
    return q.nan_to_num(0.0).clamp(0, 255)


def exact_sums(qa: Tensor, zero: Tensor, b: Tensor) -> Tensor:
    """``sum over d of (qa - zero) b`` in float64, in which it is exact."""
    return (qa.double() - zero.double().unsqueeze(-1)) @ b.double().T


def _rows_of(op: str, a: Tensor, options: Options) -> tuple[Tensor, Tensor, Tensor | None]:
    """Quantized rows ``[m, k]``, their zero points and their scales."""
    rows = a.unsqueeze(0) if a.dim() == 1 else a.flatten(0, -2)
    check_zero_points(op, a, options.a_zero_point)
    zero = options.a_zero_point
    zero = torch.zeros(1, device=a.device) if zero is None else zero.float()
    if a.dtype in INTEGERS:
        return rows, zero, options.row_scale
    rows = rows.float()
    scale = options.row_scale
    if scale is None:
        scale, zero = find_quantizer(rows)
    return quantize(rows, scale, zero), zero, scale


def _plain(op: str, a: Tensor, b: Tensor, options: Options) -> Tensor:
    """The formula of the contract."""
    qa, zero, scale = _rows_of(op, a, options)
    sums, shape = exact_sums(qa, zero, b), (*a.shape[:-1], b.shape[0])
    if options.col_scale is None:
        return sums.to(torch.int32).reshape(shape)
    out = sums.float() * (scale.unsqueeze(-1) * options.col_scale)
    if options.bias is not None:
        out = out + options.bias
    map_of_rows = out[:, :, None, None]  # columns are the channels
    out = activations.apply(options.activation, map_of_rows, options.activation_param)[:, :, 0, 0]
    if options.out_scale is not None:
        step = torch.full((1,), options.out_scale, device=a.device)
        out = quantize(out, step, torch.full_like(step, options.out_zero_point))
    return out.to(out_dtype(a, options)).reshape(shape)


def gemm_plain(a: Tensor, b: Tensor, *args: Any) -> Tensor:
    """The op in torch's own ops."""
    check_plain(GEMM, a, b)
    check_options(GEMM, a, b.shape[0], Options(*args))
    return _plain(GEMM, a, b, Options(*args))


def packed_plain(a: Tensor, packed: Tensor, n: int, *args: Any) -> Tensor:
    """The packed variant in torch's own ops."""
    check_packed(PACKED, a, packed, n)
    check_options(PACKED, a, n, Options(*args))
    return _plain(PACKED, a, int8_packing.unpack(packed, n, a.shape[-1]), Options(*args))


def _gemm_out_plain(a: Tensor, *args: Any, out: Tensor) -> None:
    result = gemm_plain(a, *args)
    check_out(GEMM, out, result.dtype, result.shape)
    out.copy_(result)


def _packed_out_plain(a: Tensor, *args: Any, out: Tensor) -> None:
    result = packed_plain(a, *args)
    check_out(PACKED, out, result.dtype, result.shape)
    out.copy_(result)


def _pack_plain(b: Tensor) -> Tensor:
    check_pack(PACK, b)
    return int8_packing.pack(b)


# Fake kernels: shapes only, for torch.compile and torch.export.


def _gemm_fake(a: Tensor, b: Tensor, *args: Any) -> Tensor:
    check_plain(GEMM, a, b)
    check_options(GEMM, a, b.shape[0], Options(*args))
    return a.new_empty((*a.shape[:-1], b.shape[0]), dtype=out_dtype(a, Options(*args)))


def _packed_fake(a: Tensor, packed: Tensor, n: int, *args: Any) -> Tensor:
    check_packed(PACKED, a, packed, n)
    check_options(PACKED, a, n, Options(*args))
    return a.new_empty((*a.shape[:-1], n), dtype=out_dtype(a, Options(*args)))


def _gemm_out_fake(a: Tensor, *args: Any, out: Tensor) -> None:
    result = _gemm_fake(a, *args)
    check_out(GEMM, out, result.dtype, result.shape)


def _packed_out_fake(a: Tensor, *args: Any, out: Tensor) -> None:
    result = _packed_fake(a, *args)
    check_out(PACKED, out, result.dtype, result.shape)


def _pack_fake(b: Tensor) -> Tensor:
    check_pack(PACK, b)
    return b.new_empty(int8_packing.packed_bytes(*b.shape))


_library.register(gemm, gemm_plain, _gemm_fake)
_library.register(packed_gemm, packed_plain, _packed_fake)
_library.register(gemm_out, _gemm_out_plain, _gemm_out_fake)
_library.register(packed_gemm_out, _packed_out_plain, _packed_out_fake)
_library.register(pack, _pack_plain, _pack_fake)
_library.LIBRARY.impl("int8_gemm_unpack", int8_packing.unpack, "CompositeImplicitAutograd")
for _overload in (gemm, packed_gemm):
    _library.register_refusal(_overload)
    _library.register_autocast(_overload, (0,))
for _overload in (gemm_out, packed_gemm_out):
    _library.register_out(_overload)
