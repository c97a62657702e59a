"""Inputs in rotation: several of the same shape, their contents changed in place before every round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Arguments = tuple[Any, ...]


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply `function` to every tensor in nested tuples, lists and dicts; anything else is passed on."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(function, item) for item in value)
    if isinstance(value, dict):
        return {key: map_tensors(function, item) for key, item in value.items()}
    return value


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists and dicts, in order."""
    found: list[Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, value)
    return found


def clone(value: Any) -> Any:
    """Copies of all tensors, strides kept."""
    return map_tensors(lambda tensor: tensor.detach().clone(memory_format=torch.preserve_format), value)


def variations(arguments: Arguments, count: int = 3) -> list[Arguments]:
    """`count` inputs that a network treats alike: the given one, mirrored, and shifted along the last axis.

    Values stay those of the real input (token numbers stay valid, pictures stay pictures).
    """
    with (
        torch.inference_mode(False),
        torch.no_grad(),
    ):  # inference tensors could not be changed in place later
        made = [clone(arguments)]
        for shift in range(count - 1):
            made.append(
                map_tensors(lambda tensor, s=shift: _mirrored_and_shifted(tensor, s), clone(arguments))
            )
    return made


def _mirrored_and_shifted(tensor: Tensor, shift: int) -> Tensor:
    if tensor.dim() == 0:
        return tensor
    return tensor.copy_(tensor.flip(-1).roll(shift, -1))


def change_in_place(arguments: Arguments) -> None:
    """Shift the elements of every tensor by one: same object, same address, other contents.

    Along all axes as one, so that the contents do not repeat after as many rounds as the last axis is long.
    """
    with torch.inference_mode(False), torch.no_grad():
        for tensor in tensors_in(arguments):
            tensor.copy_(tensor.reshape(-1).roll(1).reshape(tensor.shape))


def relative_error(output: Any, reference: Any) -> float:
    """||output - reference|| / ||reference|| over all tensors, in float64; infinite where shapes or NaNs differ."""
    mine, theirs = tensors_in(output), tensors_in(reference)
    if len(mine) != len(theirs) or any(a.shape != b.shape for a, b in zip(mine, theirs, strict=True)):
        return float("inf")
    difference = scale = 0.0
    for a, b in zip(mine, theirs, strict=True):
        exact = b.double()  # no copy where the reference is float64 already
        difference += float(torch.linalg.vector_norm(a - exact)) ** 2
        scale += float(torch.linalg.vector_norm(exact)) ** 2
    if difference == 0.0:
        return 0.0
    error = (difference / scale) ** 0.5 if scale > 0 else float("inf")
    return float("inf") if math.isnan(error) else error
