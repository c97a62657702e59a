"""The packed weight of csr_matmul in plain torch: the layouts of ``csrc/cpu/csr_matmul/formats`` and their choice.

For use without a compiled kernel, for sizes that fake tensors need, and for the way back from a packed weight.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_LANES = 16  # values of a line of x
_OFFSET_STEP = 64  # an offset is 64 * column within the block
_MAX_GATHERED_ROWS = 2  # of x: beyond, strips of it are multiplied
_MAX_LINES = 4
_BLOCK_LINES, _MOST_BLOCK_LINES = 512, 2048  # of x in a block
_MAX_BLOCK = 65536 // _OFFSET_STEP  # columns
_FEW_IN_BLOCK = 10  # nonzeros of a row: with fewer a block is made larger
_ROWS_MAX_COLUMNS = 65536
_HEADER, _MAGIC = 64, 0x315253434B47  # bytes of what every packed weight begins with; "GKCSR1"
_MIN_TILE, _MAX_TILE, _TILES = 64, 1024, 8


class Layout(NamedTuple):
    """``CsrLayout`` of the contract; ``k_block`` is 0 for the rows format."""

    k_block: int
    row_tile: int


class Structure(NamedTuple):
    """A weight ``[n, k]`` in CSR form."""

    crow_indices: Tensor
    col_indices: Tensor
    values: Tensor
    k: int

    @property
    def n(self) -> int:
        return self.crow_indices.shape[0] - 1


def layout_batch(batch: int, k: int) -> int:
    """The largest batch of the kind that has the layout for ``batch``; 64 stands for all beyond 32."""
    if batch <= _MAX_GATHERED_ROWS and k <= _ROWS_MAX_COLUMNS:
        return _MAX_GATHERED_ROWS
    return _LANES if batch <= _LANES else 2 * _LANES if batch <= 2 * _LANES else _MAX_LINES * _LANES


def layout(n: int, k: int, nnz: int, batch: int) -> Layout:
    """The layout for products with ``batch`` rows of x."""
    if batch <= _MAX_GATHERED_ROWS and k <= _ROWS_MAX_COLUMNS:
        return Layout(0, 0)
    lines = 1 if batch <= _LANES else 2 if batch <= 2 * _LANES else _MAX_LINES
    k_block, most = _BLOCK_LINES // lines, min(_MOST_BLOCK_LINES // lines, _MAX_BLOCK)
    while 2 * k_block <= most and k_block * nnz < _FEW_IN_BLOCK * n * k:
        k_block *= 2
    return Layout(k_block, min(max((n + _TILES - 1) // _TILES, _MIN_TILE), _MAX_TILE))


def _ceil(a: int, b: int) -> int:
    return (a + b - 1) // b


def section_bytes(n: int, k: int, nnz: int, batch: int, element_bytes: int) -> tuple[int, ...]:
    """Bytes of each section of the packed weight, gaps not counted."""
    k_block, row_tile = layout(n, k, nnz, batch)
    if k_block == 0:
        return (n + 1) * 8, nnz * 2, nnz * element_bytes
    blocks = _ceil(k, k_block)
    starts = (_ceil(n, row_tile) * blocks + 1) * 8
    return starts, starts, torch.sym_min(nnz, n * blocks) * 4, nnz * 2, nnz * element_bytes


def packed_bytes(n: int, k: int, nnz: int, batch: int, element_bytes: int) -> int:
    """Bytes of the packed weight."""
    return _HEADER + sum(_ceil(size, 64) * 64 for size in section_bytes(n, k, nnz, batch, element_bytes))


def rows_of(crow_indices: Tensor, nnz: int) -> Tensor:
    """``[nnz]``: the row of each nonzero."""
    counts = crow_indices.long().diff()
    return torch.repeat_interleave(
        torch.arange(counts.shape[0], device=counts.device), counts, output_size=nnz
    )


def header(n: int, k: int, nnz: int, batch: int, element_bytes: int) -> Tensor:
    """``CsrHeader``: int64 ``[8]``."""
    return torch.tensor([_MAGIC, n, k, nnz, *layout(n, k, nnz, batch), element_bytes, 0])


def _joined(sections: list[Tensor]) -> Tensor:
    parts = []
    for section in sections:
        flat = section.contiguous().view(torch.uint8)
        parts += [flat, flat.new_zeros(-flat.numel() % 64)]
    return torch.cat(parts)


def pack(weight: Structure, batch: int) -> Tensor:
    """The bytes that csr_matmul_pack gives; ``values`` float64 or float32."""
    crow, col, values, k = weight.crow_indices.long(), weight.col_indices.long(), weight.values, weight.k
    k_block, row_tile = layout(weight.n, k, values.shape[0], batch)
    head = header(weight.n, k, values.shape[0], batch, values.element_size())
    if k_block == 0:
        return _joined([head, crow, col.to(torch.int16), values])
    row, blocks = rows_of(crow, values.shape[0]), _ceil(k, k_block)
    groups = _ceil(weight.n, row_tile) * blocks
    cell = row * blocks + col // k_block  # row and block of columns: what an entry stands for
    counts = torch.bincount(cell, minlength=weight.n * blocks)
    group = row // row_tile * blocks + col // k_block
    by_count = (group * (k_block + 1) + counts[cell]) * row_tile + row % row_tile
    order = torch.argsort(by_count, stable=True)
    used = counts.nonzero().flatten()
    used_group = used // blocks // row_tile * blocks + used % blocks
    used = used[
        torch.argsort((used_group * (k_block + 1) + counts[used]) * row_tile + used // blocks % row_tile)
    ]
    entries = counts.new_zeros(min(values.shape[0], weight.n * blocks))
    entries[: used.shape[0]] = (used // blocks % row_tile) | (counts[used] << 16)
    starts = [
        torch.nn.functional.pad(torch.bincount(of, minlength=groups).cumsum(0), (1, 0))
        for of in (used_group, group)
    ]
    offsets = (col[order] % k_block * _OFFSET_STEP).to(torch.int16)
    return _joined([head, *starts, entries.to(torch.int32), offsets, values[order]])


def unpack(packed: Tensor, n: int, k: int, nnz: int, batch: int, dtype: torch.dtype) -> Structure:
    """The weight that ``packed`` was made from; ``dtype`` of its values: float64 or float32."""
    sizes = section_bytes(n, k, nnz, batch, dtype.itemsize)
    starts = [_HEADER]
    for size in sizes:
        starts.append(starts[-1] + _ceil(size, 64) * 64)
    parts = [
        packed[start : start + size].clone() for start, size in zip(starts[:-1], sizes, strict=True)
    ]  # clones are aligned
    values = parts[-1].view(dtype)
    short = parts[-2].view(torch.int16).long() & 0xFFFF
    if len(parts) == 3:
        return Structure(parts[0].view(torch.int64), short, values, k)
    k_block, row_tile = layout(n, k, nnz, batch)
    blocks = _ceil(k, k_block)
    first_entry, first_value = (part.view(torch.int64) for part in parts[:2])
    entries = parts[2].view(torch.int32).long()[: int(first_entry[-1])] if nnz else first_entry[:0]
    group = rows_of(first_entry, entries.shape[0])
    row = torch.repeat_interleave(
        group // blocks * row_tile + (entries & 0xFFFF), entries >> 16 & 0xFFFF, output_size=nnz
    )
    col = rows_of(first_value, nnz) % blocks * k_block + short // _OFFSET_STEP
    order = torch.argsort(row * k + col)
    crow = torch.nn.functional.pad(torch.bincount(row, minlength=n).cumsum(0), (1, 0))
    return Structure(crow, col[order], values[order], k)
