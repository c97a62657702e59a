"""A user's own network and inputs, from the words of a command line.

MODEL is ``package.module:factory``, the path of an exported ``.pt2``, or the name of a network of the zoo.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SEED = 0  # of random inputs, so that two runs see the same ones
_SHAPE = re.compile(r"(\d+(?:x\d+)*)(?::(\w+))?")


class UserModelError(ValueError):
    """The words name no network or no input; the message says what to write instead."""


def load_model(text: str) -> nn.Module:
    """The network that a command line names, in eval mode.

    Args:
        text: ``package.module:factory`` (called without arguments; a ready ``nn.Module`` will do too), looked for
            in the current folder as well; a file that ``torch.export.save`` wrote; or a network of the zoo.

    Raises:
        UserModelError: no such module, attribute, file or network, weights of the zoo that cannot be fetched, or what
            comes out is no ``nn.Module``.
    """
    if text.endswith(".pt2"):
        return _exported(Path(text))
    if ":" in text:
        return _from_factory(text)
    from . import zoo

    if text in zoo.NETWORKS:
        try:
            return zoo.load(text).network.eval()
        except zoo.FetchError as problem:
            raise UserModelError(f"{text}: {problem}") from problem
    raise UserModelError(
        f"{text}: a model is package.module:factory, a file.pt2, or one of {', '.join(zoo.NETWORKS)}"
    )


def load_inputs(texts: Sequence[str]) -> tuple[Tensor, ...]:
    """Positional arguments of one call.

    Args:
        texts: each a shape, ``1x3x224x224`` or ``1x16:int64`` (random normal with a fixed seed; zeros for other than
            floating-point types), or a file: ``.pt`` (a tensor or several), ``.npy`` or ``.npz`` (all arrays).

    Raises:
        UserModelError: a text is neither; a file is missing or holds something else; no text is given.
    """
    if not texts:
        raise UserModelError("no input: give --input for each argument, such as --input 1x3x224x224")
    generator = torch.Generator().manual_seed(SEED)
    return tuple(tensor for text in texts for tensor in _tensors(text, generator))


def _exported(path: Path) -> nn.Module:
    if not path.is_file():
        raise UserModelError(
            f"{path}: no such file; torch.export.save(torch.export.export(model, inputs), path)"
        )
    try:
        model = torch.export.load(path).module()
    except Exception as problem:
        raise UserModelError(f"{path}: torch.export.load refuses it: {_first_line(problem)}") from problem
    for module in model.modules():
        module.training = False  # the mode was fixed at export, eval() raises
    return model


def _from_factory(text: str) -> nn.Module:
    module_name, _, attribute = text.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:  # python -m has it there, an installed command does not
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as problem:
        raise UserModelError(
            f"{text}: cannot import {module_name}: {_first_line(problem)}; run from its folder or set PYTHONPATH"
        ) from problem
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise UserModelError(f"{text}: {module_name} has no {attribute!r}")
        found = getattr(found, name)
    if not isinstance(found, nn.Module):
        found = _called(found, text)
    if not isinstance(found, nn.Module):
        raise UserModelError(f"{text}: must give an nn.Module, got {type(found).__name__}")
    return found.eval()


def _called(factory: Any, text: str) -> Any:
    if not callable(factory):
        raise UserModelError(f"{text}: must be a function or an nn.Module, got {type(factory).__name__}")
    try:
        return factory()
    except TypeError as problem:
        raise UserModelError(
            f"{text}: must work without arguments: {_first_line(problem)}; wrap it in a function that gives them"
        ) from problem


def _tensors(text: str, generator: torch.Generator) -> Iterator[Tensor]:
    shape = _SHAPE.fullmatch(text)
    if shape:
        yield _made_up([int(size) for size in shape[1].split("x")], shape[2] or "float32", text, generator)
        return
    path = Path(text)
    if path.suffix not in (".pt", ".npy", ".npz"):
        raise UserModelError(f"{text}: an input is a shape such as 1x3x224x224, or a .pt, .npy or .npz file")
    if not path.is_file():
        raise UserModelError(f"{text}: no such file")
    try:
        found = _read(path)
    except Exception as problem:
        raise UserModelError(f"{text}: cannot be read: {_first_line(problem)}") from problem
    for tensor in found:
        if not isinstance(tensor, Tensor):
            raise UserModelError(f"{text}: must hold tensors, got {type(tensor).__name__}")
        yield tensor


def _made_up(sizes: list[int], dtype_name: str, text: str, generator: torch.Generator) -> Tensor:
    dtype = getattr(torch, dtype_name, None)
    if not isinstance(dtype, torch.dtype):
        raise UserModelError(f"{text}: torch has no dtype {dtype_name!r}")
    if dtype.is_floating_point:
        return torch.randn(sizes, generator=generator).to(dtype)
    return torch.zeros(sizes, dtype=dtype)


def _read(path: Path) -> list[Any]:
    if path.suffix == ".pt":
        data = torch.load(path, map_location="cpu", weights_only=True)
        return list(data) if isinstance(data, (list, tuple)) else [data]
    import numpy

    data = numpy.load(path, allow_pickle=False)
    arrays = [data] if path.suffix == ".npy" else [data[name] for name in data.files]
    return [torch.from_numpy(array) for array in arrays]


def _first_line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]
