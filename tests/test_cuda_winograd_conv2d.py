"""winograd_conv2d on CUDA: torch op, binding, launchers and what nvcc compiled, against float64 and the CPU op."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from winograd_cases import FORMATS, assert_close, make, reference, tolerance

from greenkernels.ops import activation as activations

# (input, output channels, padding): one tile of one channel; channels of a slice, of part of one, of three;
# whole panels, half of one, one and a part; tiles that end rows, images and blocks; odd maps; padding past the
# filter, or different ways
FUSED = [
    ((1, 1, 3, 3), 1, 0),
    ((1, 8, 8, 16), 64, 1),
    ((2, 11, 9, 13), 70, 1),
    ((3, 24, 6, 10), 16, 1),
    ((1, 3, 5, 70), 33, 2),
    ((2, 17, 1, 1), 5, 1),
    ((1, 2, 4, 6), 97, (0, 3)),
]
STAGED = [((1, 1, 3, 3), 1, 0), ((2, 5, 9, 8), 40, 1), ((1, 9, 6, 13), 17, (2, 1))]
EMPTY = [((0, 3, 5, 5), 4, 1), ((1, 3, 0, 4), 4, 1), ((1, 0, 5, 5), 4, 1), ((1, 3, 5, 5), 0, 1)]


def run(
    gpu, op: str, x: Tensor, weight: Tensor, bias: Tensor | None, padding, tile: int, **options
) -> Tensor:
    """The op with the arguments of its schema; ``weight`` is what follows the input there."""
    place = lambda value: gpu.place(value) if isinstance(value, Tensor) else value  # noqa: E731
    padding = list(padding) if isinstance(padding, tuple) else [padding, padding]
    packed = [options["out_channels"]] if "out_channels" in options else []
    names = ("activation", "activation_param", "skip")
    extra = [place(options.get(name)) for name in names]
    out = {"out": options["out"]} if "out" in options else {}
    skip_scale = options.get("skip_scale", 1.0)
    return gpu.run(
        op, place(x), place(weight), place(bias), *packed, padding, tile, *extra, skip_scale, **out
    )


def check(gpu, shape, out_channels: int, padding, tile: int, memory_format, **options) -> Tensor:
    x, weight = make(shape, 1, memory_format=memory_format), make((out_channels, shape[1], 3, 3), 2)
    bias = make((out_channels,), 3)
    out = run(gpu, "winograd_conv2d", x, weight, bias, padding, tile, **options)
    expected = reference(x, weight, bias, padding=padding, **options)
    terms = {name: options[name] for name in ("skip", "skip_scale", "activation") if name in options}
    assert_close(out.cpu(), expected, tolerance(expected, x, weight, tile, bias, **terms))
    return out


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("case", FUSED, ids=str)
def test_one_kernel(gpu, case, memory_format) -> None:
    out = check(gpu, *case, 2, memory_format)
    assert out.is_contiguous(memory_format=memory_format) or 1 in out.shape
    if gpu.reports is not None:
        assert ["pack" in report.kernel.name for report in gpu.reports] == [True, False]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("tile", [4, 6])
@pytest.mark.parametrize("case", STAGED, ids=str)
def test_in_stages(gpu, case, tile: int, memory_format) -> None:
    check(gpu, *case, tile, memory_format)


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("case", EMPTY, ids=str)
def test_empty_sizes_give_empty_or_bias_only(gpu, case, tile: int) -> None:
    check(gpu, *case, tile, torch.contiguous_format)


@pytest.mark.parametrize("tile", [2, 4, 6])
def test_float64_is_computed_in_float64(gpu, tile: int) -> None:
    x, weight = make((1, 3, 5, 7)).double(), make((4, 3, 3, 3)).double()
    out = run(gpu, "winograd_conv2d", x, weight, None, 1, tile)
    expected = reference(x, weight, padding=1)
    assert_close(out.cpu(), expected, 2 * tolerance(expected, x, weight, tile))  # both are rounded


@pytest.mark.parametrize(("tile", "memory_format"), [(2, FORMATS[0]), (4, FORMATS[1])], ids=str)
@pytest.mark.parametrize("activation", activations.NAMES)
def test_epilogue(gpu, activation: str, memory_format, tile: int) -> None:
    param = {"leaky_relu": torch.tensor([0.2]), "prelu": make((9,))}.get(activation)
    skip = 3 * make((1, 9, 5, 6), 5, memory_format=memory_format)
    options = {"activation": activation, "activation_param": param, "skip": skip, "skip_scale": -0.7}
    check(gpu, (1, 3, 5, 6), 9, 1, tile, memory_format, **options)


@pytest.mark.parametrize("tile", [2, 4, 6])
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (33, 11, 3, 3), (70, 1, 3, 3), (3, 0, 3, 3)], ids=str)
def test_packs_as_the_cpu_does(gpu, shape, tile: int) -> None:
    weight = make(shape)
    packed = gpu.run("winograd_conv2d_pack", gpu.place(weight), tile).cpu()
    wanted = torch.ops.greenkernels.winograd_conv2d_pack(weight, tile)
    # Both are made in float64, in which 20 roundings of terms of at most 9 weights differ, and rounded once.
    bound = 2.0**-23 * wanted.abs() + 20 * 2.0**-53 * 9 * (weight.abs().max() if weight.numel() else 0)
    assert ((packed.double() - wanted.double()).abs() <= bound).all()


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("out_channels", [16, 70])
def test_a_packed_weight_gives_the_same(gpu, out_channels: int, tile: int) -> None:
    x, weight, bias = make((2, 9, 6, 5), 1), make((out_channels, 9, 3, 3), 2), make((out_channels,), 3)
    plain = run(gpu, "winograd_conv2d", x, weight, bias, 1, tile)
    packed = torch.ops.greenkernels.winograd_conv2d_pack(weight, tile)
    offset = torch.cat([torch.zeros(1), packed])[1:]  # an address that 16-byte copies do not fit
    for given in (packed, offset):
        out = run(gpu, "winograd_conv2d_packed", x, given, bias, 1, tile, out_channels=out_channels)
        assert torch.equal(out, plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(gpu, dtype: torch.dtype) -> None:
    x, weight = make((1, 4, 6, 6)).to(dtype), make((8, 4, 3, 3)).to(dtype)
    out = run(gpu, "winograd_conv2d", x, weight, None, 1, 2)
    assert torch.equal(out, run(gpu, "winograd_conv2d", x.float(), weight.float(), None, 1, 2).to(dtype))


def test_out_may_be_skip_or_lie_in_the_input(gpu) -> None:
    x, weight = make((1, 6, 4, 8), 1), make((6, 6, 3, 3), 2)
    for options in ({}, {"skip": make((1, 6, 4, 8), 3)}):
        wanted = run(gpu, "winograd_conv2d", x, weight, None, 1, 2, **options)
        memory = gpu.place(options.get("skip", x).clone())
        if options:
            run(gpu, "winograd_conv2d.out", x, weight, None, 1, 2, skip=memory, out=memory)
        else:
            run(gpu, "winograd_conv2d.out", memory, weight, None, 1, 2, out=memory)
        assert torch.equal(memory, wanted)


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_agrees_with_the_cpu(gpu, memory_format, tile: int) -> None:
    x, weight, bias = (
        make((1, 9, 7, 10), 1, memory_format=memory_format),
        make((24, 9, 3, 3), 2),
        make((24,), 3),
    )
    ours = run(gpu, "winograd_conv2d", x, weight, bias, 1, tile).cpu()
    cpu = torch.ops.greenkernels.winograd_conv2d(x, weight, bias, [1, 1], tile, None, None, None, 1.0)
    assert_close(ours, cpu.double(), 2 * tolerance(ours, x, weight, tile, bias))


@pytest.mark.parametrize("memory_format", FORMATS)
def test_hot_lines_waste_nothing(gpu, memory_format) -> None:
    """On whole tiles: no bank conflict, and every sector that is moved is used."""
    in_c, out_c, h, w = 24, 64, 4, 64
    x, weight = make((1, in_c, h, w), memory_format=memory_format), make((out_c, in_c, 3, 3))
    packed = torch.ops.greenkernels.winograd_conv2d_pack(weight, 2)
    run(gpu, "winograd_conv2d_packed", x, packed, None, 1, 2, out_channels=out_c)
    if gpu.reports is None:
        return
    (report,) = gpu.reports
    traffic = report.statistics.total().traffic
    assert {kind: one.ratio for kind, one in traffic.items()} == dict.fromkeys(traffic, 1)
    assert len(traffic) == 4
    multiply_adds = 9 * in_c * out_c * h * w
    products = multiply_adds * 16 // 36
    # A fused multiply-add for each product; the transforms and bias have others.
    assert 1 <= report.statistics.by_opcode()["fma"].issued * 32 / products <= 1.01
    # With three slices alone all that is issued is still less than the multiply-adds of a direct convolution.
    assert report.statistics.total().issued * 32 < multiply_adds


def test_what_the_op_refuses(gpu) -> None:
    x = make((1, 3, 5, 5))
    with pytest.raises(RuntimeError, match="winograd_conv2d: tile must be 2, 4 or 6, got 3"):
        run(gpu, "winograd_conv2d", x, make((4, 3, 3, 3)), None, 1, 3)
    with pytest.raises(RuntimeError, match=r"winograd_conv2d: weight must be \[out_channels, 3, 3, 3\]"):
        run(gpu, "winograd_conv2d", x, make((4, 2, 3, 3)), None, 1, 2)
