"""The float64 reference, the error bound and the choice of sizes that all direct_conv2d tests share."""

import random
from typing import Any

import torch
import torch.nn.functional as F
from conv_cases import FORMATS, make
from torch import Tensor

from greenkernels.ops import activation as activations

Geometry = dict[str, Any]  # stride, padding, dilation, groups


def reference(
    input,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    activation=None,
    activation_param=None,
    skip=None,
    skip_scale=1.0,
) -> Tensor:
    """The formula of csrc/api/direct_conv2d.h in float64, for any sizes torch's own convolution takes."""
    out = F.conv2d(input.double(), weight.double(), None, stride, padding, dilation, groups)
    if bias is not None:
        out = out + bias.double().view(1, -1, 1, 1)
    if skip is not None:
        out = out + skip_scale * skip.double()
    param = (
        torch.tensor([float(activation_param)]) if isinstance(activation_param, float) else activation_param
    )
    return activations.apply(activation, out, None if param is None else param.double())


def tolerance(
    expected: Tensor, input, weight, bias=None, skip=None, skip_scale=1.0, activation=None
) -> Tensor:
    """The largest error that rounding explains, element by element.

    A product meets at most depth + 3 roundings on its way into the sum (one for each later term, bias and skip),
    each of at most eps / 2 of a partial sum, whose size is at most filter norm times norm of what the filter sees.
    Independent errors add up as their root mean square; 5 standard deviations cover the worst of all elements
    tested here.
    """
    eps = torch.finfo(torch.float64 if input.dtype == torch.float64 else torch.float32).eps
    weight, input = weight.double(), input.double()
    depth, size = weight[0].numel() if weight.numel() else 0, 0.0
    if depth and input.numel():
        size = (weight.flatten(1).norm(dim=1).max() * input.abs().max()).item()
    bound = 2.5 * eps * (depth + 3) ** 0.5 * size
    for term, scale in ((bias, 1.0), (skip, abs(skip_scale))):  # each is added with two roundings of the sum
        if term is not None and term.numel():
            bound += eps * (size + scale * term.double().abs().max().item())
    if activation is not None:  # slopes are at most 1.5; 8 eps cover the approximation of the function itself
        bound = 1.5 * bound + 8 * eps * max(1.0, size)
    return torch.full_like(expected, bound)


def random_case(seed: int) -> tuple[Tensor, Tensor, Geometry]:
    """Input, weight and geometry; every map holds its filter."""
    choose = random.Random(seed)
    groups = choose.choice([1, 1, 1, 2, 3, 8])
    in_c, out_c = groups * choose.randint(1, 40 // groups), groups * choose.randint(1, 70 // groups)
    kernel = choose.choice([(1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (7, 7), (2, 4), (1, 7), (4, 1)])
    stride, dilation = (tuple(choose.choice([1, 1, 2, 3]) for _ in range(2)) for _ in range(2))
    padding = (choose.randint(0, 4), choose.randint(0, 4))
    least = [max(1, dilation[d] * (kernel[d] - 1) + 1 - 2 * padding[d]) for d in (0, 1)]
    h, w = (choose.randint(size, size + 22) for size in least)
    x = make((choose.randint(1, 3), in_c, h, w), seed, memory_format=choose.choice(FORMATS))
    weight = make((out_c, in_c // groups, *kernel), seed + 1)
    return x, weight, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
