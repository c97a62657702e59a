"""Values of direct_conv2d and direct_conv2d_packed against float64, on every instruction set of this CPU."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILED, FORMATS, assert_close, make, needs_kernels
from direct_cases import random_case, reference, tolerance

import greenkernels as gk
from greenkernels.ops import activation as activations
from greenkernels.ops import direct_packing

CHANNELS = [
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    17,
    31,
    32,
    33,
    48,
]  # around the widths of a panel, half of one, a vector
GEOMETRY = ("stride", "padding", "dilation", "groups")


def check(input, weight, bias=None, *, label=(), **options):
    """Both ops against the reference, and against each other bit by bit."""
    out = gk.ops.direct_conv2d(input, weight, bias, **options)
    expected = reference(input, weight, bias, **options)
    terms = {name: options[name] for name in ("skip", "skip_scale", "activation") if name in options}
    bound = tolerance(expected, input, weight, bias, **terms)
    label = (*label, tuple(input.shape), tuple(weight.shape), *(options.get(name) for name in GEOMETRY))
    assert_close(out, expected, bound, label)
    assert out.dtype == input.dtype
    packed = gk.ops.direct_conv2d_pack(weight, options.get("groups", 1))
    shape = {"out_channels": weight.shape[0], "kernel_size": tuple(weight.shape[2:])}
    again = gk.ops.direct_conv2d_packed(input, packed, bias, **shape, **options)
    assert torch.equal(out, again) or not COMPILED, label
    assert out.stride() == again.stride(), label
    return out


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (7, 7), (2, 3)])
def test_ragged_maps(kernel, memory_format, isa):
    edges = [1, 2, 7, 15, 17]
    for index, (h, w, stride) in enumerate(itertools.product(edges, edges, [1, 2, (3, 1)])):
        in_c, out_c = CHANNELS[index % len(CHANNELS)], CHANNELS[(7 * index + 3) % len(CHANNELS)]
        padding = [(k // 2, k // 2) for k in (max(kernel), 2 * max(kernel))][index % 2]
        x = make((1 + index % 2, in_c, h, w), seed=index, memory_format=memory_format)
        if any(size + 2 * p < k for size, p, k in zip((h, w), padding, kernel, strict=True)):
            continue
        weight, bias = make((out_c, in_c, *kernel), seed=index + 1), make((out_c,)) if index % 3 else None
        check(x, weight, bias, stride=stride, padding=padding)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_ragged_channels(memory_format, isa):
    for in_c, out_c in itertools.product(CHANNELS, CHANNELS):
        x = make((1, in_c, 5, 7), seed=in_c, memory_format=memory_format)
        kernel, options = ((3, 3), {"padding": 1}) if (in_c + out_c) % 2 else ((1, 1), {"stride": 2})
        check(x, make((out_c, in_c, *kernel), seed=out_c), **options)


def test_random_cases(isa):
    for seed in range(250):
        x, weight, geometry = random_case(seed)
        options = {"activation": [None, "relu", "gelu", "hardswish"][seed % 4]}
        if seed % 3 == 0:
            out_shape = reference(x, weight, **geometry).shape
            skip = make(tuple(out_shape), seed + 2, memory_format=FORMATS[seed % 2])
            options |= {"skip": skip, "skip_scale": 0.1 * (seed % 20) - 1}
        bias = make((weight.shape[0],), seed + 3) if seed % 2 else None
        check(x, weight, bias, label=("seed", seed), **geometry, **options)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    ("in_c", "out_c", "size", "kernel", "options"),
    [
        (64, 128, 56, 3, {"stride": 2, "padding": 1}),  # ResNet-18, layer2
        (256, 128, 28, 1, {}),  # ResNet-50, layer2
        (3, 64, 64, 7, {"stride": 2, "padding": 3}),  # first layer of a ResNet
        (512, 96, 7, 3, {"padding": 1}),  # depth 4608: many slices; few pixels: panels outermost
        (96, 64, 28, 3, {"padding": 2, "dilation": 2}),
        (64, 64, 28, 5, {"padding": 2, "groups": 2}),
    ],
)
def test_real_layers(in_c, out_c, size, kernel, options, memory_format, isa):
    x = make((2, in_c, size, size), 1, memory_format=memory_format)
    weight, bias = make((out_c, in_c // options.get("groups", 1), kernel, kernel), 2), make((out_c,), 3)
    out = check(x, weight, bias, activation="relu", **options)
    check(x, weight, bias, activation="relu", skip=out.clone(), **options)


@pytest.mark.parametrize("name", activations.NAMES)
def test_activations(name, isa):
    params = {
        "leaky_relu": [0.2, torch.tensor([-0.5]), torch.tensor(0.1)],
        "prelu": [make((1,)), make((38,)), make((38, 1, 1))],
    }
    for param, memory_format in itertools.product(params.get(name, [None]), FORMATS):
        x = 2 * make((2, 6, 9, 10), 1, memory_format=memory_format)
        options = {"activation": name, "activation_param": param, "skip": 3 * make((2, 38, 9, 10), 2)}
        weight = make((38, 3, 3, 3), 3)
        check(x, weight, make((38,), 4), padding=1, groups=2, skip_scale=-0.7, **options)


def test_empty_sizes_give_empty_or_bias_only(isa):
    bias = make((4,))
    for shape, padding in [((0, 3, 5, 5), 1), ((1, 3, 0, 4), 1), ((1, 0, 5, 5), 1), ((2, 0, 1, 1), 2)]:
        out = gk.ops.direct_conv2d(make(shape), make((4, shape[1], 3, 3)), bias, padding=padding)
        h, w = (size + 2 * padding - 2 for size in shape[2:])
        assert out.shape == (shape[0], 4, h, w)
        assert torch.equal(out, bias.view(1, 4, 1, 1).expand_as(out))
    assert gk.ops.direct_conv2d(make((1, 3, 5, 5)), make((0, 3, 3, 3)), padding=1).shape == (1, 0, 5, 5)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_small_integers_are_exact(memory_format, isa):
    """Every partial sum is an integer below 2^24, so any difference at all is a bug."""
    generator = torch.Generator().manual_seed(0)
    for in_c, out_c, h, w in [(1, 1, 4, 4), (3, 5, 7, 9), (17, 33, 13, 6), (64, 40, 20, 31)]:
        x = torch.randint(-8, 9, (2, in_c, h, w), generator=generator).float()
        weight = torch.randint(-8, 9, (out_c, in_c, 3, 3), generator=generator).float()
        out = gk.ops.direct_conv2d(x.contiguous(memory_format=memory_format), weight, stride=2, padding=2)
        assert torch.equal(out.double(), reference(x, weight, stride=2, padding=2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype, isa):
    for memory_format, (in_c, out_c) in itertools.product(FORMATS, [(1, 1), (3, 17), (33, 32)]):
        x = make((2, in_c, 11, 9), 1, dtype, memory_format)
        weight, bias = make((out_c, in_c, 3, 3), 2, dtype), make((out_c,), 3, dtype)
        skip = make((2, out_c, 6, 5), 4, dtype)
        options = {"stride": 2, "padding": 1, "activation": "silu", "skip": skip, "skip_scale": 0.5}
        check(x, weight, bias, **options)


def test_nan_reaches_only_the_outputs_that_read_it(isa):
    for memory_format in FORMATS:
        x = make((1, 3, 25, 25), memory_format=memory_format)
        x[0, 1, 12, 12] = torch.nan
        bad = gk.ops.direct_conv2d(x, make((4, 3, 3, 3)), padding=1).isnan()
        assert bad[0, :, 11:14, 11:14].all()
        assert bad.sum() == 4 * 9


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_thread_count_and_repetition_change_no_bit(memory_format, isa):
    before = torch.get_num_threads()
    try:
        for shape, weight_shape, stride in [
            ((1, 32, 40, 41), (48, 32, 3, 3), 2),
            ((3, 5, 17, 16), (7, 5, 5, 5), 1),
            ((1, 400, 7, 7), (96, 400, 3, 3), 1),
            ((1, 64, 28, 28), (128, 64, 1, 1), 1),
        ]:
            x, weight = make(shape, memory_format=memory_format), make(weight_shape)
            results = []
            for threads in (1, 2, 3, 2):
                torch.set_num_threads(threads)
                results.append(gk.ops.direct_conv2d(x, weight, stride=stride, padding=1))
            assert all(torch.equal(results[0], other) for other in results[1:])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_packing_agrees_with_plain_torch_and_unpacks(dtype, isa):
    for out_c, in_c, kernel, groups in [
        (1, 1, (3, 3), 1),
        (16, 3, (1, 1), 1),
        (34, 2, (2, 5), 2),
        (33, 4, (3, 3), 1),
        (99, 20, (1, 1), 3),
        (0, 3, (3, 3), 1),
        (4, 0, (3, 3), 1),
    ]:
        weight = make((out_c, in_c, *kernel), 7, dtype)
        packed = gk.ops.direct_conv2d_pack(weight, groups)
        assert packed.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(packed, direct_packing.pack(weight, groups))
        back = gk.ops.direct_conv2d_unpack(packed, out_c, in_c * groups, kernel, groups)
        assert torch.equal(back, weight.to(packed.dtype))


def test_denormal_products_are_zero(isa):
    if isa == "plain-torch":
        pytest.skip("torch keeps denormals")
    x, weight = torch.full((1, 8, 9, 9), 1e-21), torch.full((8, 8, 3, 3), 1e-20)
    assert torch.count_nonzero(gk.ops.direct_conv2d(x, weight, padding=1)) == 0


def test_agrees_with_torch_on_a_strided_weight(isa):
    weight, x = make((6, 8, 3, 3)).transpose(0, 1)[:, ::2], make((1, 3, 8, 8))
    expected = F.conv2d(x.double(), weight.double(), stride=2)
    assert_close(gk.ops.direct_conv2d(x, weight, stride=2), expected, tolerance(expected, x, weight))
