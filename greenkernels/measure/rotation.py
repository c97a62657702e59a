"""Inputs of one shape with other contents, and how far an output is from a reference."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Arguments = tuple[Any, ...]


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply `function` to every tensor in nested tuples, lists, dicts and dataclasses; anything else is passed on."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(function, item) for item in value)
    if type(value) is dict:  # torch.compile knows no copy of one
        return {key: map_tensors(function, item) for key, item in value.items()}
    if isinstance(value, dict):
        twin = copy.copy(value)  # keeps an OrderedDict one, and what a subclass holds besides
        for key, item in value.items():
            twin[key] = map_tensors(function, item)
        return twin
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        twin = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(twin, field.name, map_tensors(function, getattr(value, field.name)))
        return twin
    return value


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists, dicts and dataclasses, in order."""
    found: list[Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, value)
    return found


def clone(value: Any) -> Any:
    """Copies of all tensors, strides kept."""
    return map_tensors(lambda tensor: tensor.detach().clone(memory_format=torch.preserve_format), value)


def variation(arguments: Arguments, number: int) -> Arguments:
    """Input `number` of those that a network treats alike: 0 is the given one, odd ones are mirrored, all are shifted.

    Values stay those of the real input (token numbers stay valid, pictures stay pictures). The shift is along all axes
    as one, so that contents do not repeat before a tensor's elements have all gone round.
    """

    def vary(tensor: Tensor) -> Tensor:
        mirrored = tensor.flip(-1) if number % 2 else tensor
        return tensor.copy_(mirrored.reshape(-1).roll(number).reshape(tensor.shape))

    # Inference tensors could not be changed in place later.
    with torch.inference_mode(False), torch.no_grad():
        made = clone(arguments)
        return map_tensors(lambda tensor: vary(tensor) if tensor.dim() else tensor, made) if number else made


def variations(arguments: Arguments, count: int = 3) -> list[Arguments]:
    """The first `count` inputs, see `variation`."""
    return [variation(arguments, number) for number in range(count)]


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
