"""Networks as files that shrink with sparsity: safetensors, the weights of sparse layers packed, a plan beside them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .nn.int4_weights import to_nibbles
from .nn.int8_module import KeepsInt8Weight
from .nn.sparse_file import raw_bytes
from .nn.sparse_weight import PACKED_KEY, KeepsSparseWeight
from .ops.int4_packing import LEAST, MOST

_SIZE = struct.Struct("<Q")  # of the header, before it
_ALIGN = 8  # of the data
_METADATA = "__metadata__"
_VERSION = "1"  # of what save adds to the format: the keys of the metadata
_FLOATS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}  # of weights in a file
_PLANS = ("checked", "any", "none")
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


def save(model: nn.Module, path: str | Path, *, floats: str = "float32") -> Path:
    """Writes what `load` needs to fill a network of the same architecture, all or nothing.

    The file is in the safetensors format and holds ``model.state_dict()``, with ``packed_weight`` in the place of the
    dense ``weight`` of each sparse layer: a bit for each weight, or a byte for each nonzero, whichever is shorter, and
    the nonzeros, with a version and a checksum. At 90 % zeros that is 12.5 % of a dense float32 weight. Of a network
    that `optimize` converted, the plan and the machine that it was made on go into the metadata; a checksum of the
    whole does in any case. 8-bit weights that lie in [-8, 7], as filters of 4 bits do, take half a byte each.

    Args:
        model: the network.
        path: of the file.
        floats: "bfloat16" or "float16" to store float32 weights of two and more dimensions in 16 bits; `load` widens
            them, and all arithmetic stays in float32.

    Raises:
        ValueError: the state holds something that the format does not: another dtype, or no tensor.
    """
    if floats not in _FLOATS:
        raise ValueError(f"save: floats must be one of {', '.join(_FLOATS)}, got {floats!r}")
    state = dict(model.state_dict())
    for name, value in state.items():
        if isinstance(value, Tensor) and value.dtype == torch.float32 and value.dim() >= 2:
            state[name] = value.to(_FLOATS[floats])
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, KeepsSparseWeight):
            prefix = f"{name}." if name else ""
            del state[prefix + "weight"]
            state[prefix + PACKED_KEY] = module.packed_weight()
        elif isinstance(module, KeepsInt8Weight):
            _shorten(state, f"{name}." if name else "")
    return write_tensors(Path(path), state, _plan_of(model))


def _shorten(state: dict[str, Any], prefix: str) -> None:
    """Half a byte for each element of an 8-bit weight, if that is enough."""
    values = state[prefix + "weight_int8"]
    if values.numel() and int(values.min()) >= LEAST and int(values.max()) <= MOST:
        del state[prefix + "weight_int8"]
        state[prefix + "weight_int4"] = to_nibbles(values.flatten(1))


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> Path:
    """A safetensors file with a version and a checksum, all or nothing: who is stopped meanwhile finds what was there.

    Args:
        path: the file.
        tensors: name -> tensor.
        about: further metadata.

    Raises:
        ValueError: a value is no tensor, or of a dtype that the format does not have.
    """
    header: dict[str, Any] = {}
    parts, at = [], 0
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or value.dtype not in _NAMES:
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"save: {name!r} must be a tensor of a dtype of safetensors, got {kind}")
        parts.append(raw_bytes(value))
        end = at + len(parts[-1])
        header[name] = {"dtype": _NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [at, end]}
        at = end
    whole = {"format": "pt", "writer": "greenkernels", "version": _VERSION, **about}
    header[_METADATA] = whole | {"sha256": _checksum(header, whole, parts)}
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % _ALIGN)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(b"".join([_SIZE.pack(len(words)), words, *parts]))
        file.flush()
        os.fsync(file.fileno())
    return part.replace(path)


def _plan_of(model: nn.Module) -> dict[str, str]:
    """The plan of a converted network and its machine, as metadata; empty for any other."""
    from .planning.convert import (
        PLAN_ATTRIBUTE,
    )  # planning costs more time to import than most networks to save
    from .planning.foreign import machine_of
    from .planning.plans import as_text

    plan = getattr(model, PLAN_ATTRIBUTE, None)
    return {} if plan is None else {"plan": as_text(plan), "machine": json.dumps(machine_of(plan))}


def _checksum(entries: dict[str, Any], about: dict[str, str], parts: Iterable[bytes | memoryview]) -> str:
    """Of names, shapes and contents, and of the rest of the metadata."""
    hashed = hashlib.sha256(json.dumps([entries, about], sort_keys=True).encode())
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest()


def load(model: nn.Module, path: str | Path, *, plan: str = "checked") -> nn.Module:
    """Fills a network that is built the usual way from a file of `save`, in place; converted if the file has a plan.

    Args:
        model: Its layers whose weight the file has in packed form become sparse layers. With a plan in the file it is
            put into eval mode and converted as planned, without measuring anything.
        path: Also any other safetensors file with the state of ``model``.
        plan: "checked" takes a plan of this machine and thread number and refuses any other, "any" takes it wherever it
            was made, "none" leaves it.

    Returns:
        ``model``, or the layer if it is one itself and was replaced.

    Raises:
        ValueError: the file is not in the safetensors format, damaged, or of a later version; or its plan is another
            machine's.
        RuntimeError: it does not fit the network, as ``load_state_dict`` says it.
    """
    from .compress.conversion import load_state  # not needed to write

    if plan not in _PLANS:
        raise ValueError(f"load: plan must be one of {', '.join(_PLANS)}, got {plan!r}")
    state, about = read_tensors(Path(path))
    if plan != "none" and "plan" in about:
        from .planning.foreign import converted

        model = converted(
            model, about["plan"], about.get("machine", "{}"), Path(path), refuse=plan == "checked"
        )
    return load_state(model, state)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises:
        ValueError: it is none, damaged, or of a later version.
    """
    raw = path.read_bytes()
    try:
        start = _SIZE.size + _SIZE.unpack_from(raw)[0]
        header = json.loads(raw[_SIZE.size : start])
        about = header.pop(_METADATA, None) or {}
        _check_extents(header, len(raw) - start)
        _check(header, dict(about), memoryview(raw)[start:])
        return {name: _tensor(raw, start, entry) for name, entry in header.items()}, about
    except (
        struct.error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        RecursionError,
    ) as error:
        raise ValueError(f"load: {path} is not a safetensors file, or is damaged: {error}") from None


def _check_extents(entries: dict[str, Any], size: int) -> None:
    """Raises ValueError unless the tensors fill ``size`` bytes one after the other: before anything is allocated."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (begin, end, *entry["shape"])):
            raise ValueError(f"offsets and shape of {name!r} must be integers >= 0")
        length = math.prod(entry["shape"]) * _DTYPES[entry["dtype"]].itemsize
        if begin != at or end - begin != length:
            raise ValueError(f"{name!r} must lie in [{at}, {at + length}) of the data, got [{begin}, {end})")
        at = end
    if at != size:
        raise ValueError(f"the data must be {at} bytes long, got {size}")


def _check(entries: dict[str, Any], about: dict[str, str], data: memoryview) -> None:
    """Raises ValueError for what a later version wrote, and where the checksum of `save` does not hold."""
    ours = about.get("writer") == "greenkernels"
    if (
        not ours and not {"version", "sha256"} <= about.keys()
    ):  # both: the name of the writer may be what is damaged
        return
    if ours and about.get("version") != _VERSION:
        raise ValueError(f"version must be {_VERSION}, got {about.get('version')}")
    if about.pop("sha256", None) != _checksum(entries, about, [data]):
        raise ValueError("its checksum does not hold")


def _tensor(raw: bytes, start: int, entry: dict[str, Any]) -> Tensor:
    begin, end = entry["data_offsets"]
    dtype = _DTYPES[entry["dtype"]]
    body = bytearray(raw[start + begin : start + end])
    if not body:
        return torch.empty(entry["shape"], dtype=dtype)
    return torch.frombuffer(body, dtype=dtype).reshape(entry["shape"])
