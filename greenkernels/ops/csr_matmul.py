"""``greenkernels.ops.csr_matmul`` and its packed variant: a sparse weight times dense activations."""

from torch import Tensor

from . import csr_matmul_grad  # noqa: F401 -- registers the gradients
from .csr_matmul_op import matmul, pack, packed_matmul


def csr_matmul(
    crow_indices: Tensor, col_indices: Tensor, values: Tensor, x: Tensor, *, bias: Tensor | None = None
) -> Tensor:
    """``nn.functional.linear`` with an unstructured sparse weight ``[n, k]`` in torch's CSR form.

    ``out[..., j] = bias[j] + sum over the nonzeros p of row j of values[p] * x[..., col_indices[p]]``. A weight that
    is not stored skips ``NaN * 0``. The weight is brought into the kernel's order on every call: to multiply with one
    weight many times, see ``csr_matmul_packed`` or ``greenkernels.nn.SparseLinear``.

    Differentiable, also twice, with respect to ``values`` (at the nonzeros alone), ``x`` and ``bias``. Under autocast
    all three are cast as for ``torch.nn.functional.linear``.

    Args:
        crow_indices: ``[n + 1]``, int64 or int32, as ``torch.Tensor.crow_indices`` gives it.
        col_indices: ``[nnz]``, int64 or int32, strictly ascending within a row.
        values: ``[nnz]``, of the dtype of ``x``.
        x: ``[..., k]``, float16, bfloat16 (both computed in float32), float32 or float64; any strides.
        bias: ``[n]``, of the dtype of ``x``.

    Returns:
        ``[..., n]`` in the dtype of ``x``.

    Raises:
        RuntimeError: Shapes, dtypes or devices do not fit together, or the indices are not those of a CSR matrix. On
            CUDA indices are not looked at, as that would wait for the device: wrong ones read and write anywhere.

    Source: Gale, Zaharia, Young and Elsen, "Sparse GPU Kernels for Deep Learning", SC 2020.
    """
    return matmul(crow_indices, col_indices, values, x, bias)


def csr_matmul_pack(
    crow_indices: Tensor, col_indices: Tensor, values: Tensor, in_features: int, *, batch: int = 64
) -> Tensor:
    """The weight in the order in which the kernels of ``csr_matmul_packed`` read it.

    One layout for all instruction sets. Not differentiable.

    Args:
        crow_indices: As for ``csr_matmul``.
        col_indices: As for ``csr_matmul``.
        values: ``[nnz]``, float16, bfloat16, float32 or float64.
        in_features: ``k``.
        batch: Rows of ``x`` that the layout is chosen for; products with other numbers of rows are right too.

    Returns:
        uint8 bytes, one tensor of one dimension; values are stored as float64 for float64, else as float32.

    Raises:
        RuntimeError: As for ``csr_matmul``.
    """
    return pack(crow_indices, col_indices, values, in_features, batch)


def csr_matmul_packed(
    x: Tensor, packed: Tensor, bias: Tensor | None = None, *, out_features: int, nnz: int, batch: int = 64
) -> Tensor:
    """``csr_matmul`` with a weight that ``csr_matmul_pack`` brought into order before, for inference.

    Differentiable with respect to ``x`` and ``bias``. Arguments, result and errors are those of ``csr_matmul`` except
    for:

    Args:
        packed: What ``csr_matmul_pack`` returned, of float64 values for float64 ``x``, else of others. Its contents are
            not checked again.
        out_features: ``n``.
        nnz: Number of values.
        batch: As for ``csr_matmul_pack``.
    """
    return packed_matmul(x, packed, bias, out_features, nnz, batch)
