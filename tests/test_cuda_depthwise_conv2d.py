"""depthwise_conv2d on CUDA: torch op, binding, launchers and what nvcc compiled, against float64 and the CPU op."""

from __future__ import annotations

import pytest
import torch
from conv_cases import FORMATS, assert_close, make
from direct_cases import reference, tolerance

# (input, kernel, stride, padding, dilation)
CASES = [
    ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    ((2, 17, 7, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
    ((1, 5, 11, 8), (5, 3), (2, 3), (2, 0), (1, 2)),
    ((0, 3, 5, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
    ((1, 0, 5, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_float64(gpu, case, memory_format, dtype: torch.dtype) -> None:
    shape, kernel, *geometry = case
    channels = shape[1]
    x = make(shape, 1, memory_format=memory_format).to(dtype)
    weight, bias = make((channels, 1, *kernel), 2).to(dtype), make((channels,), 3).to(dtype)
    lists = [list(pair) for pair in geometry]
    placed = [gpu.place(tensor) for tensor in (x, weight, bias)]
    out = gpu.run("depthwise_conv2d", *placed, *lists, "relu", None, None, 1.0).cpu()
    if not out.numel():
        assert out.shape[:2] == shape[:2]
        return
    stride, padding, dilation = geometry
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": channels}
    expected = reference(x, weight, bias, activation="relu", **options)
    assert_close(out, expected, 2 * tolerance(expected, x, weight, bias))  # float64 is rounded on both sides


@pytest.mark.parametrize("channels", [1, 16, 33])
def test_packs_as_the_cpu_does(gpu, channels: int) -> None:
    weight = make((channels, 1, 3, 2))
    packed = gpu.run("depthwise_conv2d_pack", gpu.place(weight))
    assert torch.equal(packed.cpu(), torch.ops.greenkernels.depthwise_conv2d_pack(weight))
