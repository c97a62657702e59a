"""A sparse weight as bytes of a ``state_dict``: small, versioned, checksummed.

    offset  size  holds
         0     4  b"GKSW"
         4     2  version, 1
         6     1  dtype of the values: 0 float32, 1 float64, 2 float16, 3 bfloat16
         7     1  encoding of the positions: 0 bitmap, 1 gaps
         8    24  rows, columns, nonzeros: int64 each
        32     4  CRC-32 of all bytes before and after it
        36     -  positions, then values; all little-endian

A position is ``row * columns + column``. The bitmap has a bit for each, the lowest of a byte first. Gaps have a byte
for each nonzero, the number of zeros before it, with a byte 255 for each 255 of them. The shorter of the two is
written: gaps above about 88 % zeros.
"""

import struct
import zlib

import numpy as np
import torch
from torch import Tensor

MAGIC, VERSION = b"GKSW", 1
_HEADER = struct.Struct("<4sHBBqqq")
_CHECKSUM = struct.Struct("<I")
_START = _HEADER.size + _CHECKSUM.size  # of the positions
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_BITMAP, _GAPS = 0, 1
_FULL = 255  # a byte that says: as many zeros, and more to come


def _to_gaps(positions: np.ndarray) -> np.ndarray:
    gaps = np.diff(positions, prepend=-1) - 1
    ends = np.cumsum(gaps // _FULL + 1) - 1
    encoded = np.full(ends[-1] + 1 if ends.size else 0, _FULL, np.uint8)
    encoded[ends] = gaps % _FULL
    return encoded


def _from_gaps(encoded: np.ndarray) -> np.ndarray:
    steps = np.where(encoded == _FULL, _FULL, encoded.astype(np.int64) + 1)
    return (np.cumsum(steps) - 1)[encoded != _FULL]


def _to_bitmap(positions: np.ndarray, count: int) -> np.ndarray:
    bits = np.zeros(count, bool)
    bits[positions] = True
    return np.packbits(bits, bitorder="little")


def encode(crow_indices: Tensor, col_indices: Tensor, values: Tensor, columns: int) -> Tensor:
    """uint8 ``[bytes]`` of a weight in CSR form.

    Raises:
        ValueError: ``values`` have a dtype that the format does not know.
    """
    if values.dtype not in _DTYPES:
        raise ValueError(f"values must be one of {', '.join(map(str, _DTYPES))}, got dtype={values.dtype}")
    crow, col = crow_indices.cpu().numpy().astype(np.int64), col_indices.cpu().numpy().astype(np.int64)
    rows = crow.size - 1
    positions = np.repeat(np.arange(rows), np.diff(crow)) * columns + col
    choices = {_BITMAP: _to_bitmap(positions, rows * columns), _GAPS: _to_gaps(positions)}
    encoding = min(choices, key=lambda which: choices[which].size)
    data = values.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    body = choices[encoding].tobytes() + data
    sizes = (rows, columns, values.numel())
    header = _HEADER.pack(MAGIC, VERSION, _DTYPES.index(values.dtype), encoding, *sizes)
    checksum = _CHECKSUM.pack(zlib.crc32(header + body))
    return torch.frombuffer(bytearray(header + checksum + body), dtype=torch.uint8)


def decode(packed: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """``crow_indices, col_indices, values`` and the number of columns of what `encode` wrote.

    Raises:
        ValueError: the bytes are not of this format, of a newer version of it, or damaged.
    """
    raw = packed.cpu().contiguous().numpy().tobytes() if packed.dtype == torch.uint8 else b""
    if len(raw) < _START or raw[:4] != MAGIC:
        raise ValueError("is not a sparse weight of greenkernels")
    _, version, dtype, encoding, rows, columns, nnz = _HEADER.unpack_from(raw)
    if version != VERSION:
        raise ValueError(f"has format version {version}; this greenkernels reads version {VERSION}")
    header, body = raw[: _HEADER.size], raw[_START:]
    if zlib.crc32(header + body) != _CHECKSUM.unpack_from(raw, _HEADER.size)[0]:
        raise ValueError("is damaged: its checksum does not match its contents")
    split = len(body) - nnz * _DTYPES[dtype].itemsize
    encoded = np.frombuffer(body[:split], np.uint8)
    if encoding == _GAPS:
        positions = _from_gaps(encoded)
    else:
        positions = np.flatnonzero(np.unpackbits(encoded, count=rows * columns, bitorder="little"))
    row, col = np.divmod(positions, max(1, columns))
    crow = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    values = torch.frombuffer(bytearray(body[split:]) or bytearray(8), dtype=_DTYPES[dtype])[:nnz]
    return torch.from_numpy(crow.astype(np.int64)), torch.from_numpy(col), values, columns
