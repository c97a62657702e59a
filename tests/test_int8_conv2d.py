"""Values of int8_conv2d on every instruction set: sums bit by bit, the float side within its roundings."""

import itertools

import numpy as np
import pytest
import torch
from conv_cases import FORMATS, make, needs_kernels
from int8_cases import (
    EPS,
    extremes,
    int8_isa,  # noqa: F401  a fixture
    integers,
    numpy_quantized,
    numpy_quantizer,
)
from int8_conv_cases import float_maps, numpy_conv_sums, random_case

import greenkernels as gk
from greenkernels.ops import activation as activations
from greenkernels.ops import int8_packing

pytestmark = pytest.mark.usefixtures("int8_isa")

CHANNELS = [1, 3, 16, 31, 33, 64, 65, 130]  # around the widths of a vector, a panel, a chunk of the depth


def check_sums(x, weight, zero_point=None, **geometry):
    out = gk.ops.int8_conv2d(x, weight, input_zero_point=zero_point, **geometry)
    expected = numpy_conv_sums(x, weight, zero_point, **geometry)
    label = (tuple(x.shape), x.stride(), tuple(weight.shape), geometry)
    assert out.dtype == torch.int32
    assert np.array_equal(out.numpy(), expected), label
    packed = gk.ops.int8_conv2d_pack(weight, geometry.get("groups", 1))
    shape = {"out_channels": weight.shape[0], "kernel_size": tuple(weight.shape[2:])}
    again = gk.ops.int8_conv2d_packed(x, packed, input_zero_point=zero_point, **shape, **geometry)
    assert torch.equal(out, again), label
    assert out.stride() == again.stride()


def zero_points(count: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return integers((count,), dtype, seed).int()


@pytest.mark.parametrize("fill", [integers, extremes])
def test_random_cases_are_exact(fill):
    for seed in range(40):
        x, weight, geometry = random_case(seed, fill)
        zero = [None, zero_points(1, x.dtype, seed), zero_points(x.shape[0], x.dtype, seed)][seed % 3]
        check_sums(x, weight, zero, **geometry)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_ragged_channels_are_exact(memory_format):
    for in_c, out_c in itertools.product(CHANNELS, CHANNELS):
        x = integers((2, in_c, 5, 7), torch.uint8, in_c).contiguous(memory_format=memory_format)
        kernel, options = ((3, 3), {"padding": 1}) if (in_c + out_c) % 2 else ((1, 1), {"stride": 2})
        check_sums(
            x, integers((out_c, in_c, *kernel), torch.int8, out_c), zero_points(1, x.dtype, in_c), **options
        )


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    ("in_c", "out_c", "size", "kernel", "options"),
    [
        (64, 128, 28, 3, {"stride": 2, "padding": 1}),  # ResNet
        (256, 64, 14, 1, {}),
        (3, 64, 33, 7, {"stride": 2, "padding": 3}),  # first layer of a ResNet
        (512, 96, 7, 3, {"padding": 1}),  # depth 4608: many slices; few pixels: panels outermost
        (64, 64, 15, 5, {"padding": 2, "groups": 2}),
        (48, 48, 9, 3, {"padding": 1, "groups": 48}),  # depthwise
        (33, 33, 75, 5, {"padding": 2, "groups": 33}),
        (7, 7, 40, 33, {"padding": 16, "groups": 7}),
        (7280, 2, 4, 3, {"padding": 1}),  # depth 65,520, the deepest that int32 holds
    ],
)
def test_real_and_deep_layers_are_exact_at_the_extremes(in_c, out_c, size, kernel, options, memory_format):
    for dtype in (torch.uint8, torch.int8):
        x = extremes((1, in_c, size, size), dtype, 1).contiguous(memory_format=memory_format)
        weight = extremes((out_c, in_c // options.get("groups", 1), kernel, kernel), torch.int8, 2)
        check_sums(x, weight, **options)
        check_sums(torch.full_like(x, torch.iinfo(dtype).max), torch.full_like(weight, -128), **options)


def check_float(x, weight, *, label=(), **options):
    """The float side against float64 on the contract's integers."""
    weight_scale, bias = torch.rand(weight.shape[0]) + 0.5, torch.randn(weight.shape[0])
    geometry = {n: options.pop(n) for n in ("stride", "padding", "dilation", "groups") if n in options}
    out = gk.ops.int8_conv2d(x, weight, None, weight_scale, bias=bias, **geometry, **options)
    rows = x.float().flatten(1).numpy()
    scale, zero = numpy_quantizer(rows)
    q = torch.from_numpy(numpy_quantized(rows, scale, zero)).reshape(x.shape)
    sums = numpy_conv_sums(q, weight, torch.from_numpy(zero), **geometry)
    factor = torch.from_numpy(scale).double().reshape(-1, 1, 1, 1) * weight_scale.reshape(1, -1, 1, 1)
    products = torch.from_numpy(sums.astype(np.float64)) * factor
    size = products.abs() + bias.abs().reshape(1, -1, 1, 1)
    expected = products + bias.reshape(1, -1, 1, 1)
    if options.get("skip") is not None:
        scaled = options.get("skip_scale", 1.0) * options["skip"].double()
        expected, size = expected + scaled, size + scaled.abs()
    # Roundings of the sum, two products, bias and skip, each EPS / 2 of the terms; those of an activation are of its
    # size, with slopes of at most 1.2.
    bound = 3 * EPS * size
    kind, param = options.get("activation"), options.get("activation_param")
    if kind is not None:
        bound = 1.2 * bound + 8 * EPS * size.clamp_min(1)
        expected = activations.apply(
            kind, expected, None if param is None else torch.as_tensor(param).double()
        )
    if out.dtype != torch.float32:
        bound = bound + torch.finfo(out.dtype).eps * expected.abs()
    assert out.dtype == x.dtype
    assert ((out.double() - expected).abs() <= bound).all(), (label, tuple(x.shape), tuple(weight.shape))
    return out


@pytest.mark.parametrize("memory_format", FORMATS)
def test_float_maps_are_quantized_image_by_image(memory_format):
    for seed in range(16):
        x, weight, geometry = random_case(seed)
        x = float_maps(tuple(x.shape), seed).contiguous(memory_format=memory_format)
        check_float(x, weight, label=seed, activation=[None, "relu"][seed % 2], **geometry)


@pytest.mark.parametrize("name", activations.NAMES)
@pytest.mark.parametrize("memory_format", FORMATS)
def test_activations_and_skip(name, memory_format):
    params = {"leaky_relu": [torch.tensor([0.2])], "prelu": [torch.tensor([-0.5]), make((38,))]}
    for param in params.get(name, [None]):
        x = make((2, 6, 9, 10), 1).contiguous(memory_format=memory_format)
        weight, skip = integers((38, 3, 3, 3), torch.int8, 3), 3 * make((2, 38, 9, 10), 2)
        options = {"padding": 1, "groups": 2, "skip": skip, "skip_scale": -0.7}
        check_float(x, weight, activation=name, activation_param=param, **options)


@pytest.mark.parametrize("zero", [0, 100, 255])
def test_requantizes_into_channels_last(zero):
    for seed in range(12):
        x, weight, geometry = random_case(seed)
        scales = torch.tensor([0.01]), torch.rand(weight.shape[0]) / 100
        options = {
            "bias": torch.randn(weight.shape[0]),
            "activation": [None, "relu", "gelu"][seed % 3],
            **geometry,
        }
        real = gk.ops.int8_conv2d(x, weight, *scales, **options)
        if seed % 2:
            options["skip"] = torch.randn(real.shape)
            real = gk.ops.int8_conv2d(x, weight, *scales, **options)
        got = gk.ops.int8_conv2d(x, weight, *scales, out_scale=0.05, out_zero_point=zero, **options)
        assert got.dtype == torch.uint8
        assert got.is_contiguous(memory_format=torch.channels_last)
        expected = numpy_quantized(real.numpy().reshape(1, -1), np.float32([0.05]), np.float32([zero]))
        np.testing.assert_array_equal(got.contiguous().numpy().reshape(1, -1), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    x = make((2, 20, 9, 8), 1, dtype)
    out = check_float(x, integers((33, 20, 3, 3), torch.int8), padding=1, skip=make((2, 33, 9, 8), 2, dtype))
    assert out.dtype == dtype


def test_a_static_scale_clamps_and_nan_counts_as_the_lowest():
    x = make((2, 5, 6, 6))
    x[0, 0, 2, 2], x[0, 1, 3, 3], x[1, 2, 0, 0] = torch.nan, 100.0, -torch.inf
    weight, scale, zero = (
        integers((7, 5, 3, 3), torch.int8),
        torch.tensor([0.01]),
        torch.tensor([100], dtype=torch.int32),
    )
    out = gk.ops.int8_conv2d(x, weight, scale, torch.ones(7), input_zero_point=zero, padding=1)
    q = torch.from_numpy(numpy_quantized(x.numpy().reshape(1, -1), scale.numpy(), np.float32([100])))
    sums = numpy_conv_sums(q.reshape(x.shape), weight, zero, padding=1)
    np.testing.assert_allclose(out.numpy(), sums * np.float32(0.01), rtol=4 * EPS)


def test_an_image_that_is_not_finite_comes_out_as_nan_and_no_other_does():
    for bad in (torch.nan, torch.inf, -torch.inf):
        for memory_format in FORMATS:
            x = make((3, 5, 8, 8)).contiguous(memory_format=memory_format)
            x[1, 3, 7, 7] = bad
            out = gk.ops.int8_conv2d(
                x, integers((33, 5, 3, 3), torch.int8), None, torch.ones(33), activation="relu"
            )
            assert out[1].isnan().all()
            assert not out[[0, 2]].isnan().any()


def test_sums_too_deep_for_int32():
    in_c, kernel = 7400, 3  # 66,600 products
    x, weight = (
        torch.full((1, in_c, 3, 3), 255, dtype=torch.uint8),
        torch.full((2, in_c, kernel, kernel), -128),
    )
    one = torch.ones(1)
    for memory_format in FORMATS:
        out = gk.ops.int8_conv2d(
            x.contiguous(memory_format=memory_format), weight.to(torch.int8), one, torch.ones(2)
        )
        assert out.flatten().tolist() == [float(np.float32(-255 * 128 * in_c * 9))] * 2


def test_empty_sizes_give_empty_or_bias_only():
    bias = make((4,))
    for shape, padding in [((0, 3, 5, 5), 1), ((1, 3, 0, 4), 1), ((1, 0, 5, 5), 1), ((2, 0, 1, 1), 2)]:
        weight = integers((4, shape[1], 3, 3), torch.int8)
        out = gk.ops.int8_conv2d(make(shape), weight, None, torch.ones(4), bias=bias, padding=padding)
        h, w = (size + 2 * padding - 2 for size in shape[2:])
        assert out.shape == (shape[0], 4, h, w)
        assert torch.equal(out, bias.view(1, 4, 1, 1).expand_as(out))
    none = integers((0, 3, 3, 3), torch.int8)
    assert gk.ops.int8_conv2d(make((1, 3, 5, 5)), none, None, torch.ones(0), padding=1).shape == (1, 0, 5, 5)


@needs_kernels
def test_thread_count_batches_and_repetition_change_no_bit():
    before = torch.get_num_threads()
    try:
        for shape, weight_shape, stride in [
            ((1, 32, 40, 41), (48, 32, 3, 3), 2),
            ((5, 5, 17, 16), (7, 5, 5, 5), 1),
            ((1, 400, 7, 7), (96, 400, 3, 3), 1),
            ((1, 64, 28, 28), (128, 64, 1, 1), 1),
            ((9, 64, 128, 130), (8, 64, 1, 1), 3),  # more than a round of images
        ]:
            x, weight = float_maps(shape), integers(weight_shape, torch.int8)
            results = []
            for threads in (1, 2, 3, 2):
                torch.set_num_threads(threads)
                scale = torch.ones(weight_shape[0])
                results.append(gk.ops.int8_conv2d(x, weight, None, scale, stride=stride, padding=1))
            assert all(torch.equal(results[0], other) for other in results[1:])
            last = gk.ops.int8_conv2d(x[-1:], weight, None, scale, stride=stride, padding=1)
            assert torch.equal(results[0][-1:], last)
    finally:
        torch.set_num_threads(before)


def test_packing_agrees_with_plain_torch_and_unpacks():
    for out_c, in_c, kernel, groups in [
        (1, 1, (3, 3), 1),
        (34, 2, (2, 5), 2),
        (99, 20, (1, 1), 3),
        (0, 3, (3, 3), 1),
        (4, 0, (3, 3), 1),
        (40, 1, (3, 3), 40),
        (33, 1, (5, 2), 33),
        (2, 1, (33, 1), 2),
    ]:
        weight = integers((out_c, in_c, *kernel), torch.int8)
        packed = gk.ops.int8_conv2d_pack(weight, groups)
        assert torch.equal(packed, int8_packing.pack_filter(weight, groups))
        assert torch.equal(gk.ops.int8_conv2d_unpack(packed, out_c, in_c * groups, kernel, groups), weight)


def test_views_that_no_kernel_reads():
    wide, weight = integers((2, 6, 9, 20), torch.uint8), integers((7, 6, 3, 3), torch.int8)
    for x in (
        wide[..., ::2],
        wide[:, :, 1:8, 3:14],
        wide.transpose(2, 3),
        wide.permute(1, 0, 2, 3)[:, :1].expand(6, 6, 9, 20),
    ):
        check_sums(x, weight.transpose(2, 3), padding=1)
