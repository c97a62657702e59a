"""strassen_gemm: dense matrix products with fewer multiplications, as typed functions.

The contract is ``csrc/api/strassen_gemm.h``; ``strassen_gemm_op.py`` defines the ops these functions call.
"""

from torch import Tensor

from .activation import check_activation, param_as_tensor
from .rows import as_rows
from .strassen_gemm_op import gemm, pack, packed_gemm
from .strassen_levels import choose_levels


def check_levels(levels: int | str) -> None:
    """Raises ValueError unless it is "auto" or a number; the op checks which."""
    if levels != "auto" and not isinstance(levels, int):
        raise ValueError(f'levels must be "auto" or 0 to 3, got {levels!r}')


def strassen_gemm(
    a: Tensor,
    b: Tensor,
    bias: Tensor | None = None,
    *,
    levels: int | str = "auto",
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
) -> Tensor:
    """``sgemm(a, b, bias, ...)`` by Strassen's algorithm: 7 products of half the size for 8 on each level.

    On the CPU sums of blocks are made while operands are packed and while results are written, without further memory;
    but for the outermost of two or more levels of a product whose halves take 128 MiB or more, as long as ``b`` is not
    packed before and no activation is asked for: its sums, and products of halves, lie in memory. On CUDA sums and
    products of a band of rows, and the sums of ``b``, lie in memory. The error
    is bounded norm-wise, ``|out - exact| <= c eps max|a| max|b|``, where c about doubles with each level; an element
    that is small beside others of its matrix may lose all of its digits. NaN and infinity spread to whole blocks of
    the output. Differentiable like ``sgemm``, with products of the same number of levels.

    Args:
        a: ``[..., k]``, float16, bfloat16 (both computed in float32), float32 or float64; any strides.
        b: ``[n, k]``, of the dtype of ``a`` like all tensors below.
        bias: ``[n]``.
        levels: 0 to 3; 0 is ``sgemm``. "auto" takes what ``tune_levels`` measured for this size, dtype and number of
            threads, or this GPU, else 1 where m, n and k are 2048 or more, 2 from 8192 on, else 0; on a GPU 1 from 4096
            and 2 from 8192 on where it has HBM, else 1 from 16384 and 2 from 32768 on.
        activation: As in ``sgemm``.
        activation_param: As in ``sgemm``.

    Returns:
        ``[..., n]`` in the dtype of ``a``, row-major.

    Raises:
        ValueError: ``activation`` is unknown, or ``levels`` neither a number nor "auto".
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit together, or ``levels`` is not 0 to 3.

    Source: Strassen, "Gaussian Elimination is not Optimal", Numerische Mathematik 13, 1969; Huang, Smith, Henry and van
    de Geijn, "Strassen's Algorithm Reloaded", SC 2016.
    """
    check_activation(activation, activation_param)
    check_levels(levels)
    param = param_as_tensor(activation_param, a)

    def product(rows: Tensor) -> Tensor:
        chosen = levels
        if chosen == "auto":
            chosen = 0
            if b.dim() == 2:
                chosen = choose_levels(rows.shape[0], b.shape[0], b.shape[-1], rows.dtype, rows.device)
        return gemm(rows, b, bias, chosen, activation, param)

    return as_rows(a, product)


def strassen_gemm_pack(b: Tensor, levels: int) -> Tensor:
    """The weight ``b [n, k]`` as its ``7^levels`` sums of blocks, each in the order in which the kernel reads it.

    Takes ``(7 / 4)^levels`` of the memory of ``b``.

    Args:
        b: Float16, bfloat16, float32 or float64; any strides.
        levels: 0 to 3.

    Returns:
        1-D, float64 for float64, else float32. Not differentiable.

    Raises:
        RuntimeError: ``b`` is not a matrix of one of these dtypes, or ``levels`` is not 0 to 3.
    """
    return pack(b, levels)


def strassen_gemm_packed(
    a: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    *,
    n: int,
    levels: int,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
) -> Tensor:
    """``strassen_gemm(a, b, bias, levels=levels, ...)`` for ``packed = strassen_gemm_pack(b, levels)``, ``b [n, k]``.

    Differentiable with respect to ``a``, ``bias`` and ``activation_param``.

    Args:
        a: ``[..., k]`` as in ``strassen_gemm``.
        packed: What ``strassen_gemm_pack`` returned; float64 for float64 ``a``, else float32.
        bias: ``[n]``.
        n: Rows of the weight.
        levels: Those that it was packed for.
        activation: As in ``sgemm``.
        activation_param: As in ``sgemm``.

    Returns:
        ``[..., n]`` in the dtype of ``a``, row-major.

    Raises:
        ValueError: ``activation`` is unknown.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit together.
    """
    check_activation(activation, activation_param)
    param = param_as_tensor(activation_param, a)
    return as_rows(a, lambda rows: packed_gemm(rows, packed, bias, n, levels, activation, param))
