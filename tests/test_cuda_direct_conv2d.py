"""direct_conv2d on CUDA: torch op, binding, launchers and what nvcc compiled, against float64 and the CPU op."""

from __future__ import annotations

import pytest
import torch
from conv_cases import FORMATS, assert_close, make
from direct_cases import reference, tolerance
from torch import Tensor

from greenkernels.ops import activation as activations

# (input, output channels, kernel, stride, padding, dilation, groups): one product; pixels and channels of a block
# and one more; a deep sum; strides; holes; groups with panels of their own; channels of half a panel
CASES = [
    ((1, 1, 1, 1), 1, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((1, 5, 8, 8), 32, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 7, 5, 13), 33, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((1, 3, 11, 9), 16, (5, 2), (2, 3), (2, 0), (1, 1), 1),
    ((1, 4, 9, 12), 10, (3, 3), (1, 2), (2, 3), (2, 3), 2),
    ((2, 6, 4, 5), 6, (3, 3), (2, 2), (1, 1), (1, 1), 6),
]


def run(
    gpu, x: Tensor, weight: Tensor, bias, stride, padding, dilation, groups, *, dtype=None, **options
) -> Tensor:
    place = lambda value: gpu.place(value) if isinstance(value, Tensor) else value  # noqa: E731
    extra = [place(options.get(name)) for name in ("activation", "activation_param", "skip")]
    geometry = list(stride), list(padding), list(dilation), groups
    return gpu.run("direct_conv2d", place(x), place(weight), place(bias), *geometry, *extra, 0.5).cpu()


def inputs(case, memory_format=torch.contiguous_format, dtype=torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    shape, out_channels, kernel, *_, groups = case
    weight = make((out_channels, shape[1] // groups, *kernel), 2)
    x = make(shape, 1, memory_format=memory_format)
    return x.to(dtype), weight.to(dtype), make((out_channels,), 3).to(dtype)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_float64(gpu, case, memory_format) -> None:
    x, weight, bias = inputs(case, memory_format)
    out = run(gpu, x, weight, bias, *case[3:])
    names = ("stride", "padding", "dilation", "groups")
    expected = reference(x, weight, bias, **dict(zip(names, case[3:], strict=True)))
    assert_close(out, expected, tolerance(expected, x, weight, bias))


def test_float64_is_computed_in_float64(gpu) -> None:
    x, weight, bias = inputs(CASES[4], dtype=torch.float64)
    expected = reference(x, weight, bias, stride=(1, 2), padding=(2, 3), dilation=(2, 3), groups=2)
    out = run(gpu, x, weight, bias, *CASES[4][3:])
    assert_close(out, expected, 2 * tolerance(expected, x, weight, bias))


# A tile of each way to bring in the input, by whole rows and not; and a depth cut into parts.
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("case", [((1, 3, 4, 5), 9), ((1, 8, 5, 5), 12), ((1, 64, 4, 5), 10)], ids=str)
@pytest.mark.parametrize("activation", activations.NAMES)
def test_epilogue(gpu, activation: str, case, memory_format) -> None:
    shape, out_c = case
    x, weight, bias = inputs((shape, out_c, (2, 2), 1, 0, 1, 1), memory_format)
    param = {"leaky_relu": torch.tensor([0.2]), "prelu": make((out_c,))}.get(activation)
    skip = make((1, out_c, shape[2] - 1, shape[3] - 1), 4, memory_format=memory_format)
    options = {"activation": activation, "activation_param": param, "skip": skip}
    out = run(gpu, x, weight, bias, (1, 1), (0, 0), (1, 1), 1, **options)
    expected = reference(x, weight, bias, **options, skip_scale=0.5)
    bound = tolerance(expected, x, weight, bias, skip=options["skip"], skip_scale=0.5, activation=activation)
    assert_close(out, expected, bound)


# Tile -> (h, w), output channels: on one multiprocessor the fastest for them; none is filled.
TILES = {
    (64, 128): ((10, 19), 117),
    (128, 64): ((15, 25), 60),
    (64, 64): ((7, 9), 64),
    (64, 32): ((6, 7), 20),
}
# Channels and filter: 16 bytes of channels; channels that end within a slice; so few that a table has the depths
INPUTS = [(20, 3), (18, 3), (3, 7)]


def launched(gpu) -> list[str]:
    return [report.kernel.name for report in gpu.reports]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("channels", "size"), INPUTS)
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_tiles_match_float64(gpu, tile, channels: int, size: int, memory_format) -> None:
    (h, w), out_channels = TILES[tile]
    case = ((1, channels, h, w), out_channels, (size, size), (1, 1), (size // 2, size // 2), (1, 1), 1)
    x, weight, bias = inputs(case, memory_format)
    with gpu.small():
        out = run(gpu, x, weight, bias, *case[3:])
    if gpu.reports is not None:
        assert any(
            f"direct_tile_kernelINS0_10DirectTileILi{tile[0]}ELi{tile[1]}E" in n for n in launched(gpu)
        )
    expected = reference(x, weight, bias, padding=size // 2)
    assert_close(out, expected, tolerance(expected, x, weight, bias))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    "case",
    [
        ((2, 64, 5, 6), 24, (3, 3), (2, 2), (1, 1), (1, 1), 1),
        ((1, 72, 9, 7), 40, (3, 3), (1, 1), (2, 2), (2, 2), 2),
        ((1, 7, 9, 9), 7, (7, 7), (2, 1), (0, 4), (1, 1), 1),
    ],
    ids=str,
)
def test_parts_of_the_depth_are_added_up(gpu, case, memory_format) -> None:
    x, weight, bias = inputs(case, memory_format)
    out = run(gpu, x, weight, bias, *case[3:])
    assert gpu.reports is None or "direct_parts_kernel" in launched(gpu)[-1]
    names = ("stride", "padding", "dilation", "groups")
    expected = reference(x, weight, bias, **dict(zip(names, case[3:], strict=True)))
    assert_close(out, expected, tolerance(expected, x, weight, bias))


@pytest.mark.parametrize("memory_format", FORMATS)
def test_sizes_that_no_tile_takes(gpu, memory_format) -> None:
    case = ((1, 7, 4, 5), 6, (13, 13), (1, 1), (6, 6), (1, 1), 1)  # more depths than the table holds
    x, weight, bias = inputs(case, memory_format)
    out = run(gpu, x, weight, bias, *case[3:])
    assert gpu.reports is None or "direct_kernel" in launched(gpu)[-1]
    expected = reference(x, weight, bias, padding=6)
    assert_close(out, expected, tolerance(expected, x, weight, bias))


@pytest.mark.parametrize("memory_format", FORMATS)
def test_hot_lines_waste_nothing(gpu, memory_format) -> None:
    """On whole tiles: no bank conflict anywhere, and every sector that is moved is used."""
    if gpu.reports is None:
        pytest.skip("counted on the simulator alone")
    x, weight = make((1, 64, 12, 16), 1, memory_format=memory_format), make((128, 64, 1, 1), 2)
    with gpu.small():
        run(gpu, x, weight, None, (1, 1), (0, 0), (1, 1), 1)
    total = gpu.reports[-1].statistics.total()
    assert {kind: traffic.ratio for kind, traffic in total.traffic.items()} == {
        "global load": 1,
        "global store": 1,
        "shared load": 1,
        "shared store": 1,
    }
    assert gpu.reports[-1].statistics.by_opcode()["fma"].issued == 192 * 128 * 64 // 32


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", [(16, 3, 2, 3), (66, 5, 1, 1), (4, 0, 3, 3)], ids=str)
def test_packs_as_the_cpu_does(gpu, shape, groups: int) -> None:
    weight = make(shape)
    packed = gpu.run("direct_conv2d_pack", gpu.place(weight), groups)
    assert torch.equal(packed.cpu(), torch.ops.greenkernels.direct_conv2d_pack(weight, groups))


@pytest.mark.parametrize("case", [((0, 3, 5, 5), 4), ((1, 3, 5, 5), 0), ((1, 0, 5, 5), 4)], ids=str)
def test_empty_sizes_give_empty_or_bias_only(gpu, case) -> None:
    shape, out_channels = case
    bias = make((out_channels,))
    out = run(gpu, make(shape), make((out_channels, shape[1], 3, 3)), bias, (1, 1), (1, 1), (1, 1), 1)
    assert torch.equal(out, bias.view(1, -1, 1, 1).expand(shape[0], -1, 5, 5))
