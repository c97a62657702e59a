"""The work that rivals are asked to do, in torch's own terms, so that each can build it in its own form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...ops import activation

DEFAULT_SLOPES = {"leaky_relu": 0.01, "prelu": 0.25}  # torch's


class CannotRun(Exception):
    """Why a rival is not in a run, in words for the user: what to install, or what it cannot do."""


@dataclass(frozen=True)
class ConvTask:
    """``activation(module(inputs))``.

    Attributes:
        module: in eval mode, with zero padding.
        activation: as the ops call it ("relu", "leaky_relu", ...), or None.
        inputs: ``[batch, in_c, h, w]``, float32; only the shape and dtype of it are built in.
        activation_param: slope of "leaky_relu" (None: 0.01) or "prelu" (None: 0.25), as in WinogradConv2d.
    """

    module: nn.Conv2d
    activation: str | None
    inputs: Tensor
    activation_param: Tensor | float | None = None


@dataclass(frozen=True)
class LinearTask:
    """``inputs @ module.weight.T + module.bias``; inputs ``[..., in_features]``, float32."""

    module: nn.Linear
    inputs: Tensor


@dataclass(frozen=True)
class Int8LinearTask:
    """``LinearTask`` in 8-bit integers: the weight with a scale for each output feature, float in and float out.

    Attributes:
        module, inputs: as in ``LinearTask``.
        input_range: ends of the input's values, for rivals that want its scale beforehand.
    """

    module: nn.Linear
    inputs: Tensor
    input_range: tuple[float, float]


@dataclass(frozen=True)
class Int8ConvTask:
    """``module(inputs)`` in 8-bit integers, the weight with a scale for each output channel, float in and float out.

    Attributes:
        module: in eval mode, with zero padding.
        inputs: ``[batch, in_c, h, w]``, float32.
        input_range, output_range: ends of the values that go in and come out, for rivals that want scales beforehand.
    """

    module: nn.Conv2d
    inputs: Tensor
    input_range: tuple[float, float]
    output_range: tuple[float, float]


@dataclass(frozen=True)
class MatmulTask:
    """``a @ b``, neither of them constant: a ``[m, k]``, b ``[k, n]``, float32."""

    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class NetworkTask:
    """``network(*inputs)``; the network in eval mode, its inputs tensors."""

    network: nn.Module
    inputs: tuple[Tensor, ...]


Int8Task = Int8LinearTask | Int8ConvTask
Task = ConvTask | LinearTask | MatmulTask | NetworkTask | Int8Task


def inputs_of(task: Task) -> tuple[Tensor, ...]:
    """What a call gets."""
    if isinstance(task, MatmulTask):
        return (task.a, task.b)
    return task.inputs if isinstance(task, NetworkTask) else (task.inputs,)


def weights_of(task: ConvTask | LinearTask | MatmulTask) -> dict[str, Tensor]:
    """ "weight" and, where there is one, "bias"; nothing for a product of two inputs.

    Raises:
        CannotRun: something is not float32, which is what rivals are driven for here.
    """
    module = None if isinstance(task, MatmulTask) else task.module
    weights = {} if module is None else {"weight": module.weight.detach()}
    if module is not None and module.bias is not None:
        weights["bias"] = module.bias.detach()
    for tensor in (*weights.values(), *inputs_of(task)):
        if tensor.dtype != torch.float32:
            raise CannotRun(f"is driven in float32 here, not {str(tensor.dtype).removeprefix('torch.')}")
    return weights


def check_padding(conv: nn.Conv2d) -> None:
    """Raises CannotRun for padding other than with zeros, or given as a word."""
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise CannotRun(f"is driven with zero padding in numbers, not {conv.padding_mode} {conv.padding!r}")


def output_shape(task: ConvTask | LinearTask | MatmulTask) -> list[int]:
    """Shape of what a call gives."""
    with torch.inference_mode():
        call = torch.mm if isinstance(task, MatmulTask) else module_of(task)
        return list(call(*inputs_of(task)).shape)


def slope_of(task: ConvTask) -> Tensor:
    """The parameter of the activation, 0-d or per channel."""
    given = task.activation_param
    return torch.as_tensor(
        DEFAULT_SLOPES[task.activation] if given is None else given, dtype=torch.float32
    ).detach()


def module_of(task: ConvTask | LinearTask | NetworkTask) -> nn.Module:
    """The work as one stock module; a convolution in an ``nn.Sequential`` with its activation."""
    if isinstance(task, NetworkTask):
        return task.network
    if isinstance(task, LinearTask) or task.activation is None:
        return task.module
    slope = None
    if task.activation in activation.WITH_PARAM:
        slope = slope_of(task)
        slope = nn.Parameter(slope.reshape(-1), requires_grad=False) if task.activation == "prelu" else slope
    return nn.Sequential(task.module, activation.to_module(task.activation, slope)).eval()


@dataclass(frozen=True)
class Affine:
    """``real = scale * (q - zero)`` with ``q`` in [0, 255]."""

    scale: float
    zero: int


def affine_of(ends: tuple[float, float]) -> Affine:
    """The one by which [low, high] and 0 fill [0, 255]."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale = max((high - low) / 255, 2.0**-126)
    return Affine(scale, round(-low / scale))
