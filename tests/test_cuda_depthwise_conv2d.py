"""depthwise_conv2d on CUDA: torch op, binding, launchers and what nvcc compiled, against float64 and the CPU op."""

from __future__ import annotations

import pytest
import torch
from conv_cases import FORMATS, assert_close, make
from direct_cases import reference, tolerance

from greenkernels.ops import activation as activations

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


def launched(gpu) -> str:
    """The kernel of the last call's convolution, or nothing on a GPU."""
    return gpu.reports[-1].kernel.name if gpu.reports is not None else ""


# (input, filter, stride): one value; channels and rows that allow 16-byte accesses, and that do not; tiles cut off at
# the right and below, either way; more tiles and groups of channels than a block has threads
TILED = [
    ((1, 1, 1, 1), 3, 1),
    ((2, 20, 9, 12), 3, 1),
    ((1, 5, 13, 8), 3, 1),
    ((1, 68, 5, 7), 3, 1),
    ((2, 7, 6, 16), 3, 2),
    ((1, 12, 9, 11), 3, 2),
    ((1, 8, 7, 12), 5, 1),
    ((2, 3, 8, 9), 5, 1),
    ((1, 4, 11, 20), 5, 2),
    ((1, 6, 5, 6), 5, 2),
    ((1, 16, 10, 8), 7, 1),
    ((1, 9, 4, 5), 7, 1),
    ((1, 8, 9, 16), 7, 2),
    ((2, 2, 7, 7), 7, 2),
    ((1, 65, 20, 17), 3, 1),
]


@pytest.mark.parametrize("padding", ["half", (0, 2)], ids=str)
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("case", TILED, ids=str)
def test_tiles_match_float64(gpu, case, memory_format, padding) -> None:
    shape, size, stride = case
    pads = (size // 2, size // 2) if padding == "half" else (size // 2 + padding[0], size // 2 + padding[1])
    x, weight = make(shape, 1, memory_format=memory_format), make((shape[1], 1, size, size), 2)
    placed = gpu.place(x), gpu.place(weight)
    out = gpu.run("depthwise_conv2d", *placed, None, [stride] * 2, list(pads), [1, 1], None, None, None, 1.0)
    assert gpu.reports is None or "depthwise_tile_kernel" in launched(gpu)
    expected = reference(x, weight, stride=stride, padding=pads, groups=shape[1])
    assert_close(out.cpu(), expected, tolerance(expected, x, weight))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", [(2, 8, 5, 12), (1, 6, 6, 7)], ids=str)
@pytest.mark.parametrize("activation", activations.NAMES)
def test_epilogue_of_tiles(gpu, activation: str, shape, memory_format) -> None:
    x, skip = (make(shape, seed, memory_format=memory_format) for seed in (1, 4))
    weight, bias = make((shape[1], 1, 3, 3), 2), make((shape[1],), 3)
    param = {"leaky_relu": torch.tensor([0.2]), "prelu": make((shape[1],))}.get(activation)
    place = lambda tensor: None if tensor is None else gpu.place(tensor)  # noqa: E731
    geometry = [1, 1], [1, 1], [1, 1]
    out = gpu.run(
        "depthwise_conv2d",
        *map(place, (x, weight, bias)),
        *geometry,
        activation,
        place(param),
        place(skip),
        0.5,
    )
    options = {"activation": activation, "activation_param": param, "skip": skip, "skip_scale": 0.5}
    expected = reference(x, weight, bias, padding=1, groups=shape[1], **options)
    bound = tolerance(expected, x, weight, bias, skip=skip, skip_scale=0.5, activation=activation)
    assert_close(out.cpu(), expected, bound)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_infinities_stay_under_their_filters(gpu, value: float, memory_format) -> None:
    x, weight = make((1, 4, 9, 12), 1), make((4, 1, 3, 3), 2)
    x[0, 1, 4, 5] = value
    x = x.contiguous(memory_format=memory_format)
    geometry = [1, 1], [1, 1], [1, 1]
    out = gpu.run("depthwise_conv2d", gpu.place(x), gpu.place(weight), None, *geometry, None, None, None, 1.0)
    seen = torch.zeros(1, 4, 9, 12, dtype=torch.bool)
    seen[0, 1, 3:6, 4:7] = True
    assert torch.equal(~out.cpu().isfinite(), seen)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_tiles_touch_whole_sectors(gpu, memory_format) -> None:
    if gpu.reports is None:
        pytest.skip("counted on the simulator alone")
    x, weight = make((1, 64, 8, 32), 1, memory_format=memory_format), make((64, 1, 3, 3), 2)
    geometry = [1, 1], [1, 1], [1, 1]
    gpu.run("depthwise_conv2d", x, weight, None, *geometry, None, None, None, 1.0)
    total = gpu.reports[-1].statistics.total().traffic
    ratios = {kind: traffic.ratio for kind, traffic in total.items()}
    assert ratios["global store"] == 1
    # Of the pieces left and right of a tile in NCHW only the columns that the filter sees are loaded.
    assert ratios["global load"] <= (1.05 if memory_format == torch.channels_last else 2)


@pytest.mark.parametrize("channels", [1, 16, 33])
def test_packs_as_the_cpu_does(gpu, channels: int) -> None:
    weight = make((channels, 1, 3, 2))
    packed = gpu.run("depthwise_conv2d_pack", gpu.place(weight))
    assert torch.equal(packed.cpu(), torch.ops.greenkernels.depthwise_conv2d_pack(weight))
