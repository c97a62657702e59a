"""Inputs and the numpy int64 oracle that the tests of int8_conv2d share; the oracle knows no kernel."""

import random
from typing import Any

import numpy as np
import torch
from int8_cases import integers
from torch import Tensor

Geometry = dict[str, Any]  # stride, padding, dilation, groups


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def numpy_conv_sums(
    q: Tensor, weight: Tensor, zero_point: Tensor | None = None, *, stride=1, padding=0, dilation=1, groups=1
) -> np.ndarray:
    """``conv2d(q - zero_point, weight)`` in int64, tap by tap; padding adds nothing."""
    (sh, sw), (ph, pw), (dh, dw) = _pair(stride), _pair(padding), _pair(dilation)
    x, w = q.numpy().astype(np.int64), weight.numpy().astype(np.int64)
    if zero_point is not None:
        x = x - zero_point.numpy().astype(np.int64).reshape(-1, 1, 1, 1)
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    out_c, group_in_c, kh, kw = w.shape
    oh = max(0, (x.shape[2] - dh * (kh - 1) - 1) // sh + 1)
    ow = max(0, (x.shape[3] - dw * (kw - 1) - 1) // sw + 1)
    out = np.zeros((x.shape[0], out_c, oh, ow), np.int64)
    n = out_c // groups
    for g in range(groups):
        of_group = x[:, g * group_in_c : (g + 1) * group_in_c]
        for i in range(kh):
            for j in range(kw):
                seen = of_group[:, :, i * dh : i * dh + sh * oh : sh, j * dw : j * dw + sw * ow : sw]
                seen = seen[:, :, :oh, :ow]
                out[:, g * n : (g + 1) * n] += np.einsum(
                    "kc,bcyx->bkyx", w[g * n : (g + 1) * n, :, i, j], seen
                )
    return out


def float_maps(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Images of very different size and offset, so that scales and zero points differ; the second image is 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) + torch.randn(shape[0], 1, 1, 1, generator=generator)
    if shape[0] > 1:
        x *= torch.logspace(-3, 3, shape[0]).reshape(-1, 1, 1, 1)
        x[1] = 0
    return x


def random_case(seed: int, make=integers) -> tuple[Tensor, Tensor, Geometry]:
    """uint8 or int8 maps, an int8 filter and a geometry; every map holds its filter."""
    choose = random.Random(seed)
    groups = choose.choice([1, 1, 1, 2, 3, 8])
    in_c, out_c = groups * choose.randint(1, 150 // groups), groups * choose.randint(1, 70 // groups)
    kernel = choose.choice([(1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (7, 7), (2, 4), (1, 7), (4, 1)])
    stride, dilation = (tuple(choose.choice([1, 1, 2, 3]) for _ in range(2)) for _ in range(2))
    padding = (choose.randint(0, 4), choose.randint(0, 4))
    least = [max(1, dilation[d] * (kernel[d] - 1) + 1 - 2 * padding[d]) for d in (0, 1)]
    h, w = (choose.randint(size, size + 18) for size in least)
    dtype = choose.choice([torch.uint8, torch.int8])
    x = make((choose.randint(1, 3), in_c, h, w), dtype, seed)
    if choose.random() < 0.5:
        x = x.contiguous(memory_format=torch.channels_last)
    weight = make((out_c, in_c // groups, *kernel), torch.int8, seed + 1)
    return x, weight, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
