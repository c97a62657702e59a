"""The packed weight of strassen_gemm in plain torch; the layout is that of ``csrc/api/strassen_gemm.h``."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import gemm_packing

MAX_LEVELS = 3
# Of each product, the sum of blocks of the weight: (row, column, sign), b being stored as [n, k].
_SUMS = (
    ((0, 0, 1), (1, 1, 1)),
    ((0, 0, 1),),
    ((1, 0, 1), (1, 1, -1)),
    ((0, 1, 1), (0, 0, -1)),
    ((1, 1, 1),),
    ((0, 0, 1), (1, 0, 1)),
    ((0, 1, 1), (1, 1, 1)),
)


def block(size: int, levels: int) -> int:
    """A dimension of the blocks that are multiplied."""
    return (size + (1 << levels) - 1) >> levels


def packed_size(n: int, k: int, levels: int) -> int:
    """Elements of the packed weight."""
    return 7**levels * gemm_packing.packed_size(block(n, levels), block(k, levels))


def _sums(b: Tensor, levels: int) -> list[Tensor]:
    """The sums of blocks of ``b``, whose sizes 2^levels divides, in the order of the products."""
    if levels == 0:
        return [b]
    n, k = b.shape[0] // 2, b.shape[1] // 2
    parts = [[b[:n, :k], b[:n, k:]], [b[n:, :k], b[n:, k:]]]
    outer = [sum(sign * parts[row][column] for row, column, sign in terms) for terms in _SUMS]
    return [inner for total in outer for inner in _sums(total, levels - 1)]


def pack(b: Tensor, levels: int) -> Tensor:
    """``[n, k]`` as its sums of blocks, each packed for sgemm; float64 for float64, else float32."""
    n, k = (block(size, levels) << levels for size in b.shape)
    dtype = torch.float64 if b.dtype == torch.float64 else torch.float32
    padded = F.pad(b.to(dtype), (0, k - b.shape[1], 0, n - b.shape[0]))
    return torch.cat([gemm_packing.pack(total) for total in _sums(padded, levels)])


def unpack(packed: Tensor, n: int, k: int, levels: int) -> Tensor:
    """The weight ``[n, k]`` that ``packed`` holds, up to a rounding for each level."""
    rows, columns = block(n, levels), block(k, levels)
    size = gemm_packing.packed_size(rows, columns)
    if packed.dim() != 1 or packed.shape[0] != 7**levels * size:
        raise RuntimeError(
            f"strassen_gemm_unpack: packed must have {7**levels * size} elements for n = {n}, k = {k} and "
            f"levels = {levels}, got shape {list(packed.shape)}"
        )
    if packed.numel() == 0:
        return packed.new_zeros(n, k)
    sums = [gemm_packing.unpack(part, rows, columns) for part in packed.split(size)]
    for _ in range(levels):  # blocks 00 and 11 are there; 01 = (sum of the 4th) + 00, 10 = (of the 3rd) + 11
        merged = []
        for first in range(0, len(sums), 7):
            s = sums[first : first + 7]
            top, bottom = torch.cat([s[1], s[3] + s[1]], 1), torch.cat([s[2] + s[4], s[4]], 1)
            merged.append(torch.cat([top, bottom]))
        sums = merged
    return sums[0][:n, :k].contiguous()
