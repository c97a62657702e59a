"""How far a network in integers may be from one in floats with the same weights: bounds, layer by layer.

Inputs are rounded to steps s, so each moves by at most s / 2, and by what a fixed grid cuts off; a layer passes on at
most the sum of sizes of its weights times what its inputs moved; ReLU and maxima enlarge nothing. Steps of ranges that
are found from inputs follow these as far as they may have moved.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = torch.finfo(torch.float32).eps


def with_weights_of(made: nn.Sequential, stock: nn.Sequential) -> nn.Sequential:
    """The stock network with the weights and biases that ``made`` multiplies by, as floats."""
    floats = copy.deepcopy(stock)
    for mine, its in zip(floats, made, strict=True):
        if isinstance(mine, (nn.Linear, nn.Conv2d)):
            mine.weight.data.copy_(its.weight.detach())
            mine.bias.data.copy_(its.bias.detach())
    return floats


def _moved_by_rounding(layer: nn.Module, x: Tensor, moved: Tensor) -> Tensor:
    """What rounding adds to ``moved``, for each input of a layer."""
    scale = getattr(layer, "input_scale", None)
    if scale is not None:
        zero = layer.input_zero_point.float()
        low, high = -zero * scale, (255 - zero) * scale
        return scale / 2 + F.relu(x - high) + F.relu(low - x) + moved  # cut off: at most what lies outside
    each = tuple(range(1, x.dim())) if x.dim() == 4 else (-1,)  # an image or a row
    widest = (x + moved).amax(each, keepdim=True).clamp_min(0) - (x - moved).amin(
        each, keepdim=True
    ).clamp_max(0)
    return (widest / 255 / 2).expand_as(x)


@torch.no_grad()
def bound_of_inputs(made: nn.Sequential, floats: nn.Sequential, x: Tensor) -> Tensor:
    """The most by which each output of ``made(x)`` differs from ``floats(x)``, its float twin."""
    moved = torch.zeros_like(x)
    for layer, twin in zip(made, floats, strict=True):
        if isinstance(twin, (nn.Linear, nn.Conv2d)):
            moved = moved + _moved_by_rounding(layer, x, moved)
            rounding = 2 * (twin.weight[0].numel() + 4) * EPS  # of the float sums on both sides
            sizes = copy.deepcopy(twin)
            sizes.weight.abs_()
            sizes.bias.abs_()
            moved, sums = sizes(moved) - sizes(torch.zeros_like(moved)), sizes(x.abs())
            moved = moved * (1 + rounding) + rounding * sums
        elif isinstance(twin, (nn.MaxPool2d, nn.Flatten)):
            moved = twin(moved)
        else:
            assert isinstance(twin, nn.ReLU)
        x = twin(x)
    return moved
