"""Weights as 8-bit integers: how they are quantized, and how they are read from what others quantized."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..ops.int8_quantization import quantize_weight as quantize_weight


class QuantizedWeight(NamedTuple):
    """``weight[j] = scale[j] * values[j]``."""

    values: Tensor  # int8 [out, in], of a filter [out, in, kernel_h, kernel_w]
    scale: Tensor  # float32 [out]
    bias: Tensor | None  # [out]


def range_quantizer(
    name: str, ends: tuple[float, float] | None, device: Any
) -> tuple[Tensor | None, Tensor | None]:
    """Scale, float32 ``[1]``, and zero point, int32 ``[1]``, by which [low, high] and 0 fill [0, 255]; None for None.

    Raises:
        ValueError: the range is empty or not finite.
    """
    if ends is None:
        return None, None
    low, high = float(ends[0]), float(ends[1])
    if not -float("inf") < low <= high < float("inf"):
        raise ValueError(f"{name} must be two finite numbers, low <= high, got {ends}")
    scale = torch.tensor([max((max(high, 0.0) - min(low, 0.0)) / 255, 2.0**-126)], device=device)
    zero_point = torch.round(-min(low, 0.0) / scale).to(torch.int32)
    return scale, zero_point.clamp_(0, 255)


def quantized_weight_of(module: nn.Module) -> QuantizedWeight | None:
    """What torch.ao made of a Linear or Conv2d layer, or torchao of a Linear; None for a layer that is not quantized.

    Raises:
        ValueError: it is quantized in a form that the kernels do not have.
    """
    quantized = torch.ao.nn.quantized
    if isinstance(module, (quantized.Linear, quantized.Conv2d)):  # a dynamic Linear is a subclass
        return _of_torch_ao(module.weight(), module.bias())
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.Linear) and isinstance(weight, Tensor):
        return _of_torchao(weight, module.bias)
    return None


def _of_torch_ao(weight: Tensor, bias: Tensor | None) -> QuantizedWeight:
    if weight.dtype != torch.qint8:
        raise ValueError(f"weight must be qint8, got dtype={weight.dtype}")
    values = weight.int_repr()
    if weight.qscheme() == torch.per_channel_affine:
        scale, zeros = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    else:
        scale = torch.full((values.shape[0],), weight.q_scale())
        zeros = torch.tensor([weight.q_zero_point()])
    if zeros.any():
        raise ValueError(f"weight must be symmetric, got zero points up to {int(zeros.abs().max())}")
    return QuantizedWeight(values, scale.float(), None if bias is None else bias.detach())


# Where the classes of torchao keep the integers and the scales; the tensor class changed with its versions.
_TORCHAO_NAMES = (("qdata", "scale"), ("int_data", "scale"))


def _of_torchao(weight: Tensor, bias: Tensor | None) -> QuantizedWeight | None:
    """Reads by attribute, so that torchao need not be there."""
    inner = weight
    for wrapper in ("original_weight_tensor", "tensor_impl"):  # of activation quantization, of a layout
        inner = getattr(inner, wrapper, inner)
    names = next((n for n in _TORCHAO_NAMES if all(hasattr(inner, part) for part in n)), None)
    if names is None:
        return None
    values, scale = (getattr(inner, name) for name in names)
    if values.dtype != torch.int8 or values.shape != weight.shape:
        raise ValueError(f"weight must be int8 {list(weight.shape)}, got {values.dtype} {list(values.shape)}")
    if scale.numel() != weight.shape[0]:
        raise ValueError(
            f"weight must have one scale for each of {weight.shape[0]} output features, got {list(scale.shape)}"
        )
    zeros = getattr(inner, "zero_point", None)
    if zeros is not None and bool(zeros.any()):
        raise ValueError(f"weight must be symmetric, got zero points up to {int(zeros.abs().max())}")
    return QuantizedWeight(
        values, scale.detach().float().reshape(-1), None if bias is None else bias.detach()
    )
