"""csr_matmul as ops of torch. The contract is ``csrc/api/csr_matmul.h``.

- ``csr_matmul(crow_indices, col_indices, values, x, bias)``: packs the weight on each call.
- ``csr_matmul_pack(crow_indices, col_indices, values, in_features, batch)``: uint8 ``[packed_bytes]``.
- ``csr_matmul_packed(x, packed, bias, out_features, nnz, batch)``.
- ``csr_matmul_values_grad(crow_indices, col_indices, grad, x)``: ``[nnz]``, the gradient of the values.
- ``csr_matmul_transpose(crow_indices, col_indices, in_features)``: crow_indices and col_indices of the transposed
  weight, and the position of each of its values among the values.
- ``csr_matmul_unpack(packed, out_features, in_features, nnz, batch, double)``: crow_indices, col_indices and values of
  what was packed; ``double`` says whether the values are float64.

On the CPU indices are read whole and checked once: when packing, not on calls with what was packed. On CUDA they are
not checked.
"""

from typing import Any

import torch
from torch import Tensor

from . import _library, csr_packing
from .conv2d_checks import compute_dtype, fail, shape_text
from .csr_matmul_checks import (
    check_contents,
    check_header,
    check_matmul,
    check_pack,
    check_packed,
    check_structure,
    check_values_grad,
)

_MATMUL, _PACK, _PACKED = "csr_matmul", "csr_matmul_pack", "csr_matmul_packed"
_GRAD, _TRANSPOSE, _UNPACK = "csr_matmul_values_grad", "csr_matmul_transpose", "csr_matmul_unpack"

_library.define(
    f"{_MATMUL}(Tensor crow_indices, Tensor col_indices, Tensor values, Tensor x, Tensor? bias) -> Tensor"
)
_library.define(
    f"{_PACK}(Tensor crow_indices, Tensor col_indices, Tensor values, SymInt in_features, int batch) -> Tensor"
)
_library.define(
    f"{_PACKED}(Tensor x, Tensor packed, Tensor? bias, SymInt out_features, SymInt nnz, int batch) -> Tensor"
)
_library.define(f"{_GRAD}(Tensor crow_indices, Tensor col_indices, Tensor grad, Tensor x) -> Tensor")
_library.define(
    f"{_TRANSPOSE}(Tensor crow_indices, Tensor col_indices, SymInt in_features) -> (Tensor, Tensor, Tensor)"
)
_library.define(
    f"{_UNPACK}(Tensor packed, SymInt out_features, SymInt in_features, SymInt nnz, int batch, bool double) "
    "-> (Tensor, Tensor, Tensor)"
)

# Bound once: a lookup through torch.ops costs a call more than 1 us.
matmul = torch.ops.greenkernels.csr_matmul.default
pack = torch.ops.greenkernels.csr_matmul_pack.default
packed_matmul = torch.ops.greenkernels.csr_matmul_packed.default
values_grad = torch.ops.greenkernels.csr_matmul_values_grad.default
transpose = torch.ops.greenkernels.csr_matmul_transpose.default
unpack = torch.ops.greenkernels.csr_matmul_unpack.default

_CHUNK = 1 << 24  # products that plain torch holds at a time


def flat(x: Tensor) -> Tensor:
    """``[..., k]`` as ``[rows, k]``."""
    return x.unsqueeze(0) if x.dim() == 1 else x.flatten(0, -2)


def _sums(weight: csr_packing.Structure, x: Tensor, bias: Tensor | None) -> Tensor:
    """The product by gathering, in the dtype of x."""
    rows = csr_packing.rows_of(weight.crow_indices, weight.values.shape[0])
    col = weight.col_indices.long()
    parts = [
        part.new_zeros(part.shape[0], weight.n).index_add(1, rows, part[:, col] * weight.values)
        for part in flat(x).split(max(1, _CHUNK // max(1, col.shape[0])))
    ]
    out = torch.cat(parts).reshape(*x.shape[:-1], weight.n)
    return out if bias is None else out + bias


def matmul_plain(
    crow_indices: Tensor, col_indices: Tensor, values: Tensor, x: Tensor, bias: Tensor | None
) -> Tensor:
    """csr_matmul in torch's own ops."""
    check_matmul(_MATMUL, crow_indices, col_indices, values, x, bias)
    dtype = compute_dtype(x)
    weight = csr_packing.Structure(crow_indices, col_indices, values.to(dtype), x.shape[-1])
    return _sums(weight, x.to(dtype), None if bias is None else bias.to(dtype)).to(x.dtype)


def pack_plain(
    crow_indices: Tensor, col_indices: Tensor, values: Tensor, in_features: int, batch: int
) -> Tensor:
    """csr_matmul_pack in torch's own ops."""
    check_pack(_PACK, crow_indices, col_indices, values, in_features)
    check_contents(_PACK, crow_indices, col_indices, in_features)
    own = values.to(compute_dtype(values))
    return csr_packing.pack(csr_packing.Structure(crow_indices, col_indices, own, in_features), batch)


def packed_plain(
    x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int, nnz: int, batch: int
) -> Tensor:
    """csr_matmul_packed in torch's own ops."""
    check_packed(_PACKED, x, packed, bias, out_features, nnz, batch)
    dtype = compute_dtype(x)
    check_header(_PACKED, packed, (nnz, out_features, x.shape[-1]), batch, dtype.itemsize)
    weight = csr_packing.unpack(packed, out_features, x.shape[-1], nnz, batch, dtype)
    return _sums(weight, x.to(dtype), None if bias is None else bias.to(dtype)).to(x.dtype)


def values_grad_plain(crow_indices: Tensor, col_indices: Tensor, grad: Tensor, x: Tensor) -> Tensor:
    """csr_matmul_values_grad in torch's own ops."""
    check_values_grad(_GRAD, crow_indices, col_indices, grad, x)
    rows = csr_packing.rows_of(crow_indices, col_indices.shape[0])
    dtype, col = compute_dtype(x), col_indices.long()
    size = max(1, _CHUNK // max(1, col.shape[0]))
    total = x.new_zeros(col.shape[0], dtype=dtype)
    parts = flat(grad.to(dtype)).split(size), flat(x.to(dtype)).split(size)
    for part, rows_of_x in zip(*parts, strict=True):
        total = total + (part[:, rows] * rows_of_x[:, col]).sum(0)
    return total.to(x.dtype)


def transpose_plain(
    crow_indices: Tensor, col_indices: Tensor, in_features: int
) -> tuple[Tensor, Tensor, Tensor]:
    """csr_matmul_transpose in torch's own ops."""
    check_structure(_TRANSPOSE, crow_indices, col_indices, crow_indices, col_indices.numel(), in_features)
    check_contents(_TRANSPOSE, crow_indices, col_indices, in_features)
    col = col_indices.long()
    order = torch.argsort(col, stable=True)
    crow = torch.nn.functional.pad(torch.bincount(col, minlength=in_features).cumsum(0), (1, 0))
    return crow, csr_packing.rows_of(crow_indices, col.shape[0])[order], order


def unpack_plain(
    packed: Tensor, out_features: int, in_features: int, nnz: int, batch: int, double: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """csr_matmul_unpack, which has no other kernel."""
    dtype = torch.float64 if double else torch.float32
    expected = csr_packing.packed_bytes(out_features, in_features, nnz, batch, dtype.itemsize)
    if tuple(packed.shape) != (expected,):
        fail(_UNPACK, f"packed must have {expected} elements, got shape {shape_text(packed.shape)}")
    weight = csr_packing.unpack(packed, out_features, in_features, nnz, batch, dtype)
    return weight.crow_indices, weight.col_indices, weight.values


def _matmul_looked_through(crow_indices: Tensor, col_indices: Tensor, *args: Any) -> Tensor:
    check_matmul(_MATMUL, crow_indices, col_indices, *args)
    check_contents(_MATMUL, crow_indices, col_indices, args[1].shape[-1])
    return matmul_plain(crow_indices, col_indices, *args)


def _values_grad_looked_through(crow_indices: Tensor, col_indices: Tensor, grad: Tensor, x: Tensor) -> Tensor:
    check_values_grad(_GRAD, crow_indices, col_indices, grad, x)
    check_contents(_GRAD, crow_indices, col_indices, x.shape[-1])
    return values_grad_plain(crow_indices, col_indices, grad, x)


def _matmul_fake(
    crow_indices: Tensor, col_indices: Tensor, values: Tensor, x: Tensor, bias: Tensor | None
) -> Tensor:
    n = check_matmul(_MATMUL, crow_indices, col_indices, values, x, bias)
    return x.new_empty(*x.shape[:-1], n)


def _pack_fake(
    crow_indices: Tensor, col_indices: Tensor, values: Tensor, in_features: int, batch: int
) -> Tensor:
    n = check_pack(_PACK, crow_indices, col_indices, values, in_features)
    size = csr_packing.packed_bytes(n, in_features, values.shape[0], batch, compute_dtype(values).itemsize)
    return values.new_empty(size, dtype=torch.uint8)


def _packed_fake(x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int, *sizes: int) -> Tensor:
    check_packed(_PACKED, x, packed, bias, out_features, *sizes)
    return x.new_empty(*x.shape[:-1], out_features)


def _values_grad_fake(crow_indices: Tensor, col_indices: Tensor, grad: Tensor, x: Tensor) -> Tensor:
    check_values_grad(_GRAD, crow_indices, col_indices, grad, x)
    return x.new_empty(col_indices.shape[0])


def _transpose_fake(
    crow_indices: Tensor, col_indices: Tensor, in_features: int
) -> tuple[Tensor, Tensor, Tensor]:
    check_structure(_TRANSPOSE, crow_indices, col_indices, crow_indices, col_indices.numel(), in_features)
    sizes = (in_features + 1, col_indices.shape[0], col_indices.shape[0])
    return tuple(crow_indices.new_empty(size, dtype=torch.int64) for size in sizes)


def _unpack_fake(
    packed: Tensor, out_features: int, in_features: int, nnz: int, batch: int, double: bool
) -> tuple[Tensor, Tensor, Tensor]:
    values = packed.new_empty(nnz, dtype=torch.float64 if double else torch.float32)
    crow, col = (packed.new_empty(size, dtype=torch.int64) for size in (out_features + 1, nnz))
    return crow, col, values


_library.register(matmul, _matmul_looked_through, _matmul_fake)
_library.register(pack, pack_plain, _pack_fake)
_library.register(packed_matmul, packed_plain, _packed_fake)
_library.register(values_grad, _values_grad_looked_through, _values_grad_fake)
_library.register(transpose, transpose_plain, _transpose_fake)
_library.register_plain(_UNPACK, unpack_plain)
torch.library.register_fake(f"{_library.NAMESPACE}::{_UNPACK}", _unpack_fake)
