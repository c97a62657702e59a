"""The checks of ``csrc/ops/csr_matmul.h`` in the same order and words, for fake tensors and for plain torch."""

import torch
from torch import Tensor

from .conv2d_checks import check_float, check_tensor, compute_dtype, dtype_name, fail, shape_text
from .csr_packing import header, packed_bytes

_MAX_FEATURES = 1 << 31


def _check_indices(op: str, name: str, indices: Tensor, like: Tensor) -> None:
    if indices.dim() != 1:
        fail(op, f"{name} must be 1-D, got shape {shape_text(indices.shape)}")
    if indices.dtype not in (torch.int64, torch.int32):
        fail(op, f"{name} must be int64 or int32, got {dtype_name(indices.dtype)}")
    if indices.device != like.device:
        fail(op, f"{name} must be on the device of the values, {like.device}, got {indices.device}")


def check_structure(
    op: str, crow_indices: Tensor, col_indices: Tensor, like: Tensor, nnz: int, k: int
) -> int:
    """Shapes and dtypes of the indices of a weight with ``nnz`` values and ``k`` columns; returns its rows."""
    _check_indices(op, "crow_indices", crow_indices, like)
    _check_indices(op, "col_indices", col_indices, like)
    if crow_indices.shape[0] < 1:
        fail(op, "crow_indices must have out_features + 1 elements, got 0")
    if col_indices.shape[0] != nnz:
        fail(op, f"col_indices must have {nnz} elements, got {col_indices.shape[0]}")
    if not 0 <= k < _MAX_FEATURES:
        fail(op, f"in_features must be in [0, 2^31), got {k}")
    return crow_indices.shape[0] - 1


def check_contents(op: str, crow_indices: Tensor, col_indices: Tensor, k: int) -> None:
    """What only a look at all indices tells."""
    crow, col = crow_indices.long(), col_indices.long()
    if crow[0] != 0 or crow[-1] != col.shape[0] or (crow.diff() < 0).any():
        fail(op, f"crow_indices must ascend from 0 to {col.shape[0]}, the number of values")
    starts = torch.zeros(col.shape[0] + 1, dtype=torch.bool, device=col.device)
    starts[crow] = True  # of rows, where a column may be less than the one before
    ascending = (col.diff() > 0) | starts[1:-1] if col.shape[0] else starts
    if not (ascending.all() or col.shape[0] == 0) or (col < 0).any() or (col >= k).any():
        fail(op, f"col_indices must be in [0, {k}) and strictly ascend within a row")


def check_rows(op: str, name: str, x: Tensor) -> None:
    if x.dim() < 1:
        fail(op, f"{name} must have a dimension or more, got shape {shape_text(x.shape)}")
    check_float(op, name, x)


def _check_bias(op: str, bias: Tensor | None, x: Tensor, n: int) -> None:
    if bias is not None:
        check_tensor(op, "bias", bias, 1, x, "x")
        if bias.shape[0] != n:
            fail(op, f"bias must have {n} elements, got {bias.shape[0]}")


def check_matmul(
    op: str, crow_indices: Tensor, col_indices: Tensor, values: Tensor, x: Tensor, bias: Tensor | None
) -> int:
    """Returns the rows of the weight."""
    check_rows(op, "x", x)
    check_tensor(op, "values", values, 1, x, "x")
    n = check_structure(op, crow_indices, col_indices, values, values.shape[0], x.shape[-1])
    _check_bias(op, bias, x, n)
    return n


def check_pack(op: str, crow_indices: Tensor, col_indices: Tensor, values: Tensor, in_features: int) -> int:
    """Returns the rows of the weight."""
    if values.dim() != 1:
        fail(op, f"values must be 1-D, got shape {shape_text(values.shape)}")
    check_float(op, "values", values)
    return check_structure(op, crow_indices, col_indices, values, values.shape[0], in_features)


def check_packed_bytes(
    op: str, x: Tensor, packed: Tensor, expected: int, sizes: tuple[int, int, int]
) -> None:
    """That ``packed`` is what csr_matmul_pack returns for ``sizes``: nonzeros, rows and columns."""
    if packed.dim() != 1:
        fail(op, f"packed must be 1-D, got shape {shape_text(packed.shape)}")
    if packed.dtype != torch.uint8:
        fail(op, f"packed must be uint8 as csr_matmul_pack's result is, got {dtype_name(packed.dtype)}")
    if packed.device != x.device:
        fail(op, f"packed must be on the device of csr_matmul_pack's result, {x.device}, got {packed.device}")
    if packed.shape[0] != expected or not packed.is_contiguous():
        nnz, n, k = sizes
        fail(
            op,
            f"packed must have {expected} elements for {nnz} nonzeros of [{n}, {k}], got {packed.shape[0]}",
        )


def check_header(
    op: str, packed: Tensor, sizes: tuple[int, int, int], batch: int, element_bytes: int
) -> None:
    """What only a look at the packed bytes tells: that they were made for these nonzeros, rows and columns."""
    nnz, n, k = sizes
    if not torch.equal(packed[:64].cpu(), header(n, k, nnz, batch, element_bytes).view(torch.uint8)):
        fail(
            op,
            f"packed must be what csr_matmul_pack returned for {nnz} nonzeros of [{n}, {k}], got another weight",
        )


def check_packed(
    op: str, x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int, nnz: int, batch: int
) -> None:
    check_rows(op, "x", x)
    if not 0 <= out_features < _MAX_FEATURES:
        fail(op, f"out_features must be in [0, 2^31), got {out_features}")
    if nnz < 0:
        fail(op, f"nnz must be at least 0, got {nnz}")
    expected = packed_bytes(out_features, x.shape[-1], nnz, batch, compute_dtype(x).itemsize)
    check_packed_bytes(op, x, packed, expected, (nnz, out_features, x.shape[-1]))
    _check_bias(op, bias, x, out_features)


def check_values_grad(op: str, crow_indices: Tensor, col_indices: Tensor, grad: Tensor, x: Tensor) -> None:
    check_rows(op, "x", x)
    check_tensor(op, "grad", grad, x.dim(), x, "x")
    n = check_structure(op, crow_indices, col_indices, x, col_indices.numel(), x.shape[-1])
    expected = (*x.shape[:-1], n)
    if tuple(grad.shape) != expected:
        fail(op, f"grad must have shape {shape_text(expected)}, got {shape_text(grad.shape)}")
