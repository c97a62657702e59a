"""What the ops with weights of a few bits share in plain torch: rows in 8 bits times a weight in floats."""

import torch
from torch import Tensor

from . import activation as activations
from .int8_gemm_op import find_quantizer, quantize

Rest = tuple[Tensor | None, str | None, Tensor | None]  # bias, activation, its parameter


def product(a: Tensor, weight: Tensor, rest: Rest) -> Tensor:
    """The formula of the contracts for ``weight [n, k]`` as its bits stand for it, sums in float64."""
    bias, activation, param = rest
    rows = (a.unsqueeze(0) if a.dim() == 1 else a.flatten(0, -2)).float()
    row_scale, zero = find_quantizer(rows)
    centred = (quantize(rows, row_scale, zero) - zero.unsqueeze(1)).double()
    out = (centred @ weight.double().T).float() * row_scale.unsqueeze(1)
    if bias is not None:
        out = out + bias
    out = activations.apply(activation, out[:, :, None, None], param)[:, :, 0, 0]  # columns are the channels
    return out.to(a.dtype).reshape(*a.shape[:-1], weight.shape[0])


def slope_tensor(param: Tensor | float | None, a: Tensor) -> Tensor | None:
    """``activation_param`` as the ops take it."""
    if isinstance(param, (float, int)):
        return torch.full((1,), float(param), device=a.device)
    return param
