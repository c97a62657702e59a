"""Networks as files that shrink with sparsity: safetensors, the weights of sparse layers packed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .nn.sparse_file import raw_bytes
from .nn.sparse_weight import PACKED_KEY, KeepsSparseWeight

_SIZE = struct.Struct("<Q")  # of the header, before it
_ALIGN = 8  # of the data
_METADATA = "__metadata__"
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def save(model: nn.Module, path: str | Path) -> Path:
    """Writes what `load` needs to fill a network of the same architecture, all or nothing.

    The file is in the safetensors format and holds ``model.state_dict()``, with ``packed_weight`` in the place of the
    dense ``weight`` of each sparse layer: a bit for each weight, or a byte for each nonzero, whichever is shorter, and
    the nonzeros, with a version and a checksum. At 90 % zeros that is 12.5 % of a dense float32 weight.

    Raises:
        ValueError: the state holds something that the format does not: another dtype, or no tensor.
    """
    state = dict(model.state_dict())
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, KeepsSparseWeight):
            prefix = f"{name}." if name else ""
            del state[prefix + "weight"]
            state[prefix + PACKED_KEY] = module.packed_weight()
    header: dict[str, Any] = {_METADATA: {"format": "pt", "writer": "greenkernels"}}
    parts, at = [], 0
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.dtype not in _NAMES:
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"save: {name!r} must be a tensor of a dtype of safetensors, got {kind}")
        parts.append(raw_bytes(value))
        end = at + len(parts[-1])
        header[name] = {"dtype": _NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [at, end]}
        at = end
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % _ALIGN)
    path = Path(path)
    part = path.with_name(path.name + ".part")
    part.write_bytes(b"".join([_SIZE.pack(len(words)), words, *parts]))
    return part.replace(path)


def load(model: nn.Module, path: str | Path) -> nn.Module:
    """Fills a network that is built the usual way from a file of `save`, in place.

    Args:
        model: Its layers whose weight the file has in packed form become sparse layers.
        path: Also any other safetensors file with the state of ``model``.

    Returns:
        ``model``, or the sparse layer if it is one itself.

    Raises:
        ValueError: the file is not in the safetensors format, or damaged.
        RuntimeError: it does not fit the network, as ``load_state_dict`` says it.
    """
    from .compress.conversion import load_state  # not needed to write

    return load_state(model, _read(Path(path)))


def _read(path: Path) -> dict[str, Tensor]:
    raw = path.read_bytes()
    try:
        start = _SIZE.size + _SIZE.unpack_from(raw)[0]
        header = json.loads(raw[_SIZE.size : start])
        header.pop(_METADATA, None)
        return {name: _tensor(raw, start, entry) for name, entry in header.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"load: {path} is not a safetensors file, or is damaged: {error}") from None


def _tensor(raw: bytes, start: int, entry: dict[str, Any]) -> Tensor:
    begin, end = entry["data_offsets"]
    dtype = _DTYPES[entry["dtype"]]
    body = bytearray(raw[start + begin : start + end])
    if not body:
        return torch.empty(entry["shape"], dtype=dtype)
    return torch.frombuffer(body, dtype=dtype).reshape(entry["shape"])
