"""What a measurement belongs to: the machine with its versions, and the network with its weights and inputs."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from .. import _build, _isa
from ..measure.machine import PACKAGE, cpu_facts, version_facts
from ..measure.rotation import tensors_in
from .fusion import has_hooks

_SIMPLE = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.Size, torch.device)


def environment() -> dict[str, object]:
    """Machine, thread number, versions and kernels: numbers taken in one environment say nothing about another."""
    return {
        "cpu": cpu_facts(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cudnn": _cudnn_settings() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "versions": version_facts(),
        "level": _isa.current(),
        "mkldnn": bool(torch.backends.mkldnn.enabled),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "kernels": _kernels_hash(_build.status().path),
        "source": _source_hash(),
    }


def _cudnn_settings() -> list[bool]:
    """Which of cuDNN's convolutions torch's own layers run."""
    cudnn = torch.backends.cudnn
    return [cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark]


@cache
def _kernels_hash(binary: Path | None) -> str | None:
    """Of the compiled kernels that are loaded."""
    return None if binary is None else hashlib.sha256(binary.read_bytes()).hexdigest()[:16]


@cache
def _source_hash() -> str:
    """Of this package's Python, which chooses, wraps and times the kernels."""
    hashed = hashlib.sha256()
    for folder in ("energy", "measure", "nn", "ops", "planning"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            hashed.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hashed.hexdigest()[:16]


class Unknowable(ValueError):
    """A tensor whose contents cannot be hashed (no data, or not in this memory)."""


def network_key(model: nn.Module) -> list[object]:
    """Structure, code and weights.

    Raises:
        Unknowable: a weight has no contents here.
    """
    numbers: dict[int, int] = {}  # a module or tensor that stands in two places is one
    modules = [
        [name, numbers.setdefault(id(module), len(numbers)), _describe(module)]
        for name, module in model.named_modules(remove_duplicate=False)
    ]
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    names = [[name, numbers.setdefault(id(tensor), len(numbers))] for name, tensor in tensors]
    return [modules, names, tensors_digest({id(t): t for _, t in tensors}.values())]


def _describe(module: nn.Module) -> list[object]:
    """Class, the code of its forward, and everything plain that the instance holds."""
    kind = type(module)
    code = module.code if isinstance(module, torch.fx.GraphModule) else _code_digest(kind)
    plain = {
        name: repr(value) if _is_simple(value) else f"{type(value).__module__}.{type(value).__qualname__}"
        for name, value in module.__dict__.items()
        if not name.startswith("_")
    }
    return [f"{kind.__module__}.{kind.__qualname__}", code, module.extra_repr(), plain, has_hooks(module)]


def _is_simple(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_simple(item) for item in value)
    return isinstance(value, _SIMPLE)


def _code_digest(kind: type) -> str:
    """Of the methods of the class and its bases, and of the functions that they name; not of torch's."""
    hashed, seen = hashlib.sha256(), set()
    for base in kind.__mro__:
        if not base.__module__.startswith(("torch.", "builtins")):
            for name, function in sorted(vars(base).items()):
                hashed.update(name.encode())
                _hash_function(getattr(function, "__func__", function), hashed, seen)
    return hashed.hexdigest()[:16]


def _hash_function(function: Any, hashed: Any, seen: set[int]) -> None:
    code = getattr(function, "__code__", None)
    if code is None or id(code) in seen or str(getattr(function, "__module__", "")).startswith("torch"):
        return
    seen.add(id(code))
    for name in _hash_code(code, hashed):
        _hash_function(function.__globals__.get(name), hashed, seen)


def _hash_code(code: CodeType, hashed: Any) -> list[str]:
    """Adds byte code and constants; gives the names that the code looks up."""
    names = list(code.co_names)
    hashed.update(repr((code.co_code, [c for c in code.co_consts if _is_simple(c)], code.co_names)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names += _hash_code(constant, hashed)
    return names


def inputs_key(inputs: Any, values: bool) -> list[object]:
    """Shapes, strides and types of all tensors, and what else there is; with `values`, the contents too."""
    tensors = tensors_in(inputs)
    shapes = [[list(t.shape), list(t.stride()), str(t.dtype)] for t in tensors]
    return [_skeleton(inputs), shapes, tensors_digest(tensors) if values else ""]


def _skeleton(value: Any) -> object:
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, (tuple, list)):
        return [_skeleton(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _skeleton(item) for key, item in value.items()}
    return repr(value)


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """Hash of shapes, types and contents, at 1 to 2 GB/s.

    Raises:
        Unknowable: a tensor has no contents in this memory.
    """
    hashed = hashlib.sha256()
    for tensor in tensors:
        if tensor.device.type == "meta" or tensor.layout is not torch.strided or tensor.is_quantized:
            raise Unknowable(f"a tensor on {tensor.device}, {tensor.layout}")
        hashed.update(f"{tuple(tensor.shape)} {tensor.stride()} {tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous()
        size = flat.numel() * flat.element_size()
        if size:
            hashed.update((ctypes.c_char * size).from_address(flat.data_ptr()))
    return hashed.hexdigest()
