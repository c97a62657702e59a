"""Values of depthwise_conv2d and depthwise_conv2d_packed against float64, on every instruction set of this CPU."""

import itertools
import random

import pytest
import torch
from conv_cases import COMPILED, FORMATS, assert_close, make, needs_kernels
from direct_cases import reference, tolerance

import greenkernels as gk
from greenkernels.ops import activation as activations
from greenkernels.ops import depthwise_packing

CHANNELS = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 70]  # around the widths of a vector
GEOMETRY = ("stride", "padding", "dilation")


def check(input, weight, bias=None, *, label=(), **options):
    """Both ops against the reference, and against each other bit by bit."""
    out = gk.ops.depthwise_conv2d(input, weight, bias, **options)
    expected = reference(input, weight, bias, groups=input.shape[1], **options)
    terms = {name: options[name] for name in ("skip", "skip_scale", "activation") if name in options}
    bound = tolerance(expected, input, weight, bias, **terms)
    label = (*label, tuple(input.shape), tuple(weight.shape), *(options.get(name) for name in GEOMETRY))
    assert_close(out, expected, bound, label)
    assert out.dtype == input.dtype
    packed = gk.ops.depthwise_conv2d_pack(weight)
    again = gk.ops.depthwise_conv2d_packed(
        input, packed, bias, kernel_size=tuple(weight.shape[2:]), **options
    )
    assert torch.equal(out, again) or not COMPILED, label
    assert out.stride() == again.stride(), label
    return out


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (7, 7), (2, 3), (3, 4)])
def test_ragged_maps(kernel, stride, memory_format, isa):
    """Around the columns of a tile, 7, and the rows of a band, 2; maps smaller than the filter, too."""
    for index, (h, w) in enumerate(itertools.product([1, 3, 8], [1, 2, 6, 7, 8, 15, 22])):
        channels = CHANNELS[index % len(CHANNELS)]
        padding = (max(kernel) // 2 + index % 3, max(kernel) // 2 + index % 2)
        if any(size + 2 * p < k for size, p, k in zip((h, w), padding, kernel, strict=True)):
            continue
        x = make((1 + index % 2, channels, h, w), seed=index, memory_format=memory_format)
        bias = make((channels,)) if index % 3 else None
        weight = make((channels, 1, *kernel), seed=index + 1)
        check(x, weight, bias, stride=stride, padding=padding, activation=[None, "relu6"][index % 2])


@pytest.mark.parametrize("memory_format", FORMATS)
def test_ragged_channels(memory_format, isa):
    for channels in CHANNELS:
        x = make((1, channels, 5, 9), seed=channels, memory_format=memory_format)
        check(x, make((channels, 1, 3, 3), seed=2), make((channels,), 3), padding=1, activation="relu")


def test_random_cases(isa):
    for seed in range(120):
        choose = random.Random(seed)
        channels, kernel = choose.randint(1, 70), tuple(choose.choice([1, 3, 3, 4, 5, 7]) for _ in range(2))
        geometry = {
            name: tuple(choose.choice(values) for _ in range(2))
            for name, values in (("stride", [1, 1, 2, 3]), ("dilation", [1, 1, 2]), ("padding", [0, 1, 2, 4]))
        }
        least = [
            max(1, d * (k - 1) + 1 - 2 * p)
            for d, k, p in zip(geometry["dilation"], kernel, geometry["padding"], strict=True)
        ]
        shape = (choose.randint(1, 3), channels, *(choose.randint(size, size + 22) for size in least))
        x = make(shape, seed, memory_format=choose.choice(FORMATS))
        weight = make((channels, 1, *kernel), seed + 1)
        options = {"activation": [None, "relu", "gelu", "hardswish"][seed % 4]}
        if seed % 3 == 0:
            out_shape = tuple(reference(x, weight, groups=channels, **geometry).shape)
            options |= {"skip": make(out_shape, seed + 2, memory_format=FORMATS[seed % 2])}
            options |= {"skip_scale": 0.1 * (seed % 20) - 1}
        bias = make((channels,), seed + 3) if seed % 2 else None
        check(x, weight, bias, label=("seed", seed), **geometry, **options)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride"),
    [(96, 56, 3, 2), (144, 28, 3, 1), (512, 14, 3, 1), (1024, 7, 3, 1), (240, 28, 5, 1), (96, 28, 7, 1)],
)
def test_real_layers(channels, size, kernel, stride, memory_format, isa):
    x = make((1, channels, size, size), 1, memory_format=memory_format)
    weight, bias = make((channels, 1, kernel, kernel), 2), make((channels,), 3)
    options = {"stride": stride, "padding": kernel // 2}
    out = check(x, weight, bias, activation="relu6", **options)
    check(x, weight, bias, skip=out.clone(), **options)


@pytest.mark.parametrize("name", activations.NAMES)
def test_activations(name, isa):
    params = {
        "leaky_relu": [0.2, torch.tensor([-0.5]), torch.tensor(0.1)],
        "prelu": [make((1,)), make((38,)), make((38, 1, 1))],
    }
    for param, memory_format in itertools.product(params.get(name, [None]), FORMATS):
        x = 2 * make((2, 38, 9, 10), 1, memory_format=memory_format)
        options = {"activation": name, "activation_param": param, "padding": 1}
        weight, bias = make((38, 1, 3, 3), 3), make((38,), 4)
        check(x, weight, bias, **options)
        check(x, weight, bias, skip=3 * make((2, 38, 9, 10), 2), skip_scale=-0.7, **options)


def test_empty_sizes_give_empty_or_bias_only(isa):
    for shape, padding in [((0, 3, 5, 5), 1), ((1, 3, 0, 4), 1), ((1, 0, 5, 5), 1), ((2, 0, 1, 1), 2)]:
        bias = make((shape[1],))
        out = gk.ops.depthwise_conv2d(make(shape), make((shape[1], 1, 3, 3)), bias, padding=padding)
        h, w = (size + 2 * padding - 2 for size in shape[2:])
        assert out.shape == (shape[0], shape[1], h, w)
        assert torch.equal(out, bias.view(1, -1, 1, 1).expand_as(out))


@pytest.mark.parametrize("memory_format", FORMATS)
def test_small_integers_are_exact(memory_format, isa):
    """Every partial sum is an integer below 2^24, so any difference at all is a bug."""
    generator = torch.Generator().manual_seed(0)
    for channels, h, w in [(1, 4, 4), (5, 7, 9), (33, 13, 6), (64, 20, 31)]:
        x = torch.randint(-8, 9, (2, channels, h, w), generator=generator).float()
        weight = torch.randint(-8, 9, (channels, 1, 3, 3), generator=generator).float()
        for stride in (1, 2):
            options = {"stride": stride, "padding": 2}
            out = gk.ops.depthwise_conv2d(x.contiguous(memory_format=memory_format), weight, **options)
            assert torch.equal(out.double(), reference(x, weight, groups=channels, **options))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype, isa):
    for memory_format, channels in itertools.product(FORMATS, [1, 17, 32]):
        x = make((2, channels, 11, 19), 1, dtype, memory_format)
        weight, bias = make((channels, 1, 3, 3), 2, dtype), make((channels,), 3, dtype)
        skip = make((2, channels, 6, 10), 4, dtype)
        options = {"stride": 2, "padding": 1, "activation": "silu", "skip": skip, "skip_scale": 0.5}
        check(x, weight, bias, **options)
        check(x, weight, bias, padding=1, activation="relu")


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded_once(dtype, isa):
    for memory_format in FORMATS:
        x, weight = make((1, 20, 9, 16), 1, dtype, memory_format), make((20, 1, 5, 5), 2, dtype)
        expected = gk.ops.depthwise_conv2d(x.float(), weight.float(), padding=2).to(dtype)
        assert torch.equal(gk.ops.depthwise_conv2d(x, weight, padding=2), expected)


def test_nan_reaches_only_the_outputs_that_read_it(isa):
    for memory_format, activation in itertools.product(FORMATS, [None, "relu6"]):
        x = make((1, 3, 25, 25), memory_format=memory_format)
        x[0, 1, 12, 12] = torch.nan
        weight = make((3, 1, 3, 3))
        bad = gk.ops.depthwise_conv2d(x, weight, padding=1, activation=activation).isnan()
        assert bad[0, 1, 11:14, 11:14].all()
        assert bad.sum() == 9


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_thread_count_and_repetition_change_no_bit(memory_format, isa):
    before = torch.get_num_threads()
    try:
        for shape, kernel, stride in [((1, 320, 20, 21), 3, 1), ((3, 50, 17, 16), 5, 2)]:
            x, weight = make(shape, memory_format=memory_format), make((shape[1], 1, kernel, kernel))
            results = []
            for threads in (1, 2, 3, 2):
                torch.set_num_threads(threads)
                results.append(gk.ops.depthwise_conv2d(x, weight, stride=stride, padding=1))
            assert all(torch.equal(results[0], other) for other in results[1:])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_packing_agrees_with_plain_torch_and_unpacks(dtype, isa):
    for channels, kernel in [(1, (3, 3)), (16, (1, 1)), (34, (2, 5)), (0, (3, 3))]:
        weight = make((channels, 1, *kernel), 7, dtype)
        packed = gk.ops.depthwise_conv2d_pack(weight)
        assert packed.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(packed, depthwise_packing.pack(weight))
        back = gk.ops.depthwise_conv2d_unpack(packed, channels, kernel)
        assert torch.equal(back, weight.to(packed.dtype))
