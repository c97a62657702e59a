"""A sparse weight as bytes of a file: small, versioned, checksummed. `greenkernels.save` writes it.

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

import ctypes
import struct
import zlib

import torch
from torch import Tensor

MAGIC, VERSION = b"GKSW", 1
_HEADER = struct.Struct("<4sHBBqqq")
_CHECKSUM = struct.Struct("<I")
_START = _HEADER.size + _CHECKSUM.size  # of the positions
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_BITMAP, _GAPS = 0, 1
_FULL = 255  # a byte that says: as many zeros, and more to come
_BITS = torch.tensor([1 << bit for bit in range(8)], dtype=torch.uint8)


def raw_bytes(tensor: Tensor) -> bytes:
    """The elements of a tensor as they lie in memory; needs no numpy."""
    own = tensor.detach().cpu().contiguous()
    return ctypes.string_at(own.data_ptr(), own.numel() * own.element_size()) if own.numel() else b""


def _to_gaps(positions: Tensor) -> Tensor:
    gaps = torch.diff(positions, prepend=positions.new_tensor([-1])) - 1
    ends = torch.cumsum(gaps // _FULL + 1, 0) - 1
    encoded = torch.full((int(ends[-1]) + 1 if len(ends) else 0,), _FULL, dtype=torch.uint8)
    encoded[ends] = (gaps % _FULL).to(torch.uint8)
    return encoded


def _from_gaps(encoded: Tensor) -> Tensor:
    steps = torch.where(encoded == _FULL, _FULL, encoded.long() + 1)
    return (torch.cumsum(steps, 0) - 1)[encoded != _FULL]


def _to_bitmap(positions: Tensor, count: int) -> Tensor:
    bits = torch.zeros(-(-count // 8) * 8, dtype=torch.uint8)
    bits[positions] = 1
    return (bits.view(-1, 8) * _BITS).sum(1, dtype=torch.uint8)


def _from_bitmap(encoded: Tensor) -> Tensor:
    return (encoded[:, None] & _BITS).flatten().nonzero().flatten()


def encode(crow_indices: Tensor, col_indices: Tensor, values: Tensor, columns: int) -> Tensor:
    """uint8 ``[bytes]`` of a weight in CSR form.

    Raises:
        ValueError: ``values`` have a dtype that the format does not know.
    """
    if values.dtype not in _DTYPES:
        raise ValueError(f"values must be one of {', '.join(map(str, _DTYPES))}, got dtype={values.dtype}")
    crow, col = crow_indices.cpu().long(), col_indices.cpu().long()
    rows = crow.shape[0] - 1
    positions = torch.repeat_interleave(torch.arange(rows), crow.diff()) * columns + col
    choices = {_BITMAP: _to_bitmap(positions, rows * columns), _GAPS: _to_gaps(positions)}
    encoding = min(choices, key=lambda which: choices[which].numel())
    body = raw_bytes(choices[encoding]) + raw_bytes(values)
    sizes = (rows, columns, values.numel())
    header = _HEADER.pack(MAGIC, VERSION, _DTYPES.index(values.dtype), encoding, *sizes)
    checksum = _CHECKSUM.pack(zlib.crc32(header + body))
    return torch.frombuffer(bytearray(header + checksum + body), dtype=torch.uint8)


def decode(packed: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """``crow_indices, col_indices, values`` and the number of columns of what `encode` wrote.

    Raises:
        ValueError: the bytes are not of this format, of a newer version of it, or damaged.
    """
    raw = raw_bytes(packed) if packed.dtype == torch.uint8 else b""
    if len(raw) < _START or raw[:4] != MAGIC:
        raise ValueError("is not a sparse weight of greenkernels")
    _, version, dtype, encoding, rows, columns, nnz = _HEADER.unpack_from(raw)
    if version != VERSION:
        raise ValueError(f"has format version {version}; this greenkernels reads version {VERSION}")
    header, body = raw[: _HEADER.size], raw[_START:]
    if zlib.crc32(header + body) != _CHECKSUM.unpack_from(raw, _HEADER.size)[0]:
        raise ValueError("is damaged: its checksum does not match its contents")
    split = len(body) - nnz * _DTYPES[dtype].itemsize
    encoded = torch.frombuffer(bytearray(body[:split]) or bytearray(1), dtype=torch.uint8)[:split]
    positions = _from_gaps(encoded) if encoding == _GAPS else _from_bitmap(encoded)
    crow = torch.bincount(positions // max(1, columns), minlength=rows).cumsum(0)
    values = torch.frombuffer(bytearray(body[split:]) or bytearray(8), dtype=_DTYPES[dtype])[:nnz]
    return torch.nn.functional.pad(crow, (1, 0)), positions % max(1, columns), values, columns
