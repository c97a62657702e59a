"""Values of winograd_conv2d and winograd_conv2d_packed against float64, on every instruction set of this CPU."""

import itertools
import random
import threading

import pytest
import torch
import torch.nn.functional as F
from winograd_cases import COMPILED, FORMATS, TILES, assert_close, make, needs_kernels, reference, tolerance

import greenkernels as gk
from greenkernels.ops import activation as activations
from greenkernels.ops import winograd_transforms

# Around the widths of a panel (32), half a panel (16) and a vector (8, 16).
CHANNELS = [*range(1, 18), 31, 32, 33]


def check(input, weight, bias=None, *, tile, label=(), **options):
    """Both ops against the reference, and against each other bit by bit."""
    out = gk.ops.winograd_conv2d(input, weight, bias, tile=tile, **options)
    expected = reference(input, weight, bias, **options)
    terms = {name: options[name] for name in ("skip", "skip_scale", "activation") if name in options}
    bound = tolerance(expected, input, weight, tile, bias, **terms)
    label = (*label, tuple(input.shape), tuple(weight.shape), tile, options.get("padding"))
    assert_close(out, expected, bound, label)
    assert out.dtype == input.dtype
    packed = gk.ops.winograd_conv2d_pack(weight, tile)
    again = gk.ops.winograd_conv2d_packed(
        input, packed, bias, out_channels=weight.shape[0], tile=tile, **options
    )
    assert_close(again, expected, bound, label)
    assert torch.equal(out, again) or not COMPILED, label  # plain torch unpacks the weight, which rounds
    assert out.stride() == again.stride(), label
    return out


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("memory_format", FORMATS)
def test_ragged_maps(tile, memory_format, isa):
    edges = sorted({1, 2, 13, tile - 1, tile, tile + 1, 2 * tile + 1})
    paddings = [0, 1, 5, (2, 1)]
    for index, (h, w, padding) in enumerate(itertools.product(edges, edges, paddings)):
        p_h, p_w = padding if isinstance(padding, tuple) else (padding, padding)
        if h + 2 * p_h < 3 or w + 2 * p_w < 3:
            continue
        in_c, out_c = CHANNELS[index % len(CHANNELS)], CHANNELS[(7 * index + 3) % len(CHANNELS)]
        x = make((1 + index % 2, in_c, h, w), seed=index, memory_format=memory_format)
        check(
            x,
            make((out_c, in_c, 3, 3), seed=index + 1),
            make((out_c,)) if index % 3 else None,
            tile=tile,
            padding=padding,
        )


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("memory_format", FORMATS)
def test_ragged_channels(tile, memory_format, isa):
    for index, (in_c, out_c) in enumerate(itertools.product(CHANNELS, CHANNELS)):
        if (index + tile // 2) % 3:  # a third of the pairs for each tile
            continue
        x = make((1, in_c, 5, 7), seed=in_c, memory_format=memory_format)
        check(x, make((out_c, in_c, 3, 3), seed=out_c), tile=tile, padding=1)


@pytest.mark.parametrize("tile", TILES)
def test_empty_sizes_give_empty_or_bias_only(tile, isa):
    bias = make((4,))
    for shape, padding in [
        ((0, 3, 5, 5), 1),
        ((0, 3, 1, 1), 1),
        ((1, 3, 0, 4), 2),
        ((2, 3, 0, 0), 2),
        ((1, 3, 0, 4), 1),
        ((1, 0, 5, 5), 1),
    ]:
        out = check(make(shape), make((4, shape[1], 3, 3)), bias, tile=tile, padding=padding)
        assert torch.equal(out, bias.view(1, 4, 1, 1).expand_as(out))
    assert check(make((1, 3, 5, 5)), make((0, 3, 3, 3)), tile=tile, padding=1).shape == (1, 0, 5, 5)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("memory_format", FORMATS)
def test_a_real_layer(tile, memory_format, isa):
    """64 channels at 56 x 56, the first stage of ResNet-18: several blocks of tiles, several threads."""
    x, weight, bias = (
        make((2, 64, 56, 56), 1, memory_format=memory_format),
        make((64, 64, 3, 3), 2),
        make((64,), 3),
    )
    check(
        x,
        weight,
        bias,
        tile=tile,
        padding=1,
        activation="relu",
        skip=make((2, 64, 56, 56), 4, memory_format=memory_format),
    )


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("name", activations.NAMES)
def test_activations(tile, name, isa):
    params = {
        "leaky_relu": [0.2, torch.tensor([-0.5]), torch.tensor(0.1)],
        "prelu": [make((1,)), make((19,)), make((19, 1, 1))],
    }
    for param, memory_format in itertools.product(params.get(name, [None]), FORMATS):
        x = 2 * make((2, 5, 9, 10), 1, memory_format=memory_format)
        options = {
            "activation": name,
            "activation_param": param,
            "skip": 3 * make((2, 19, 9, 10), 2),
            "skip_scale": -0.7,
        }
        check(x, make((19, 5, 3, 3), 3), make((19,), 4), tile=tile, padding=1, **options)


@pytest.mark.parametrize("name", [None, *activations.NAMES])
def test_activations_keep_their_limits(name, isa):
    values = torch.tensor([0.0, 3.0, 6.0, 20.0, 90.0, 1e4, 1e30, torch.inf])
    if name in ("silu", "gelu", "hardswish"):
        values[-1] = 1e20  # 0 times infinity in torch's own formulas
    param = torch.tensor([0.25]) if name in activations.WITH_PARAM else None
    skip = torch.cat([-values, values]).view(1, 1, 4, 4)
    # The weight is 0, so that skip alone reaches the activation.
    options = {"padding": 1, "activation": name, "activation_param": param, "skip": skip}
    out = gk.ops.winograd_conv2d(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3), **options)
    expected = activations.apply(name, skip.double(), None if param is None else param.double())
    torch.testing.assert_close(out.double(), expected, rtol=8 * torch.finfo(torch.float32).eps, atol=1e-6)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_small_integers_are_exact_with_tile_2(memory_format, isa):
    """Every intermediate of F(2x2) is a multiple of 1/4 below 2^22 here, so any difference at all is a bug."""
    generator = torch.Generator().manual_seed(0)
    for in_c, out_c, h, w in [(1, 1, 4, 4), (3, 5, 7, 9), (17, 33, 13, 6), (64, 40, 20, 31)]:
        x = 4.0 * torch.randint(-8, 9, (2, in_c, h, w), generator=generator)
        weight = torch.randint(-8, 9, (out_c, in_c, 3, 3), generator=generator).float()
        skip = torch.randint(-100, 101, (2, out_c, h, w), generator=generator).float()
        out = gk.ops.winograd_conv2d(
            x.contiguous(memory_format=memory_format), weight, padding=1, tile=2, skip=skip, skip_scale=2.0
        )
        assert torch.equal(out.double(), reference(x, weight, padding=1, skip=skip, skip_scale=2.0))


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(tile, dtype, isa):
    for memory_format, (in_c, out_c) in itertools.product(FORMATS, [(1, 1), (3, 17), (33, 32)]):
        x = make((2, in_c, 11, 9), 1, dtype, memory_format)
        weight, bias, skip = (
            make((out_c, in_c, 3, 3), 2, dtype),
            make((out_c,), 3, dtype),
            make((2, out_c, 11, 9), 4, dtype),
        )
        check(x, weight, bias, tile=tile, padding=1, activation="silu", skip=skip, skip_scale=0.5)


def test_half_precision_does_not_overflow_inside(isa):
    """The input transform of tile 6 multiplies by more than 20: in float16 it would leave its range at 65504."""
    x = torch.full((1, 4, 12, 12), 3e4, dtype=torch.float16)
    weight = torch.zeros(2, 4, 3, 3, dtype=torch.float16)
    weight[:, 0, 1, 1] = 1
    out = gk.ops.winograd_conv2d(x, weight, padding=1, tile=6)
    torch.testing.assert_close(out, torch.full_like(out, 3e4), rtol=2**-10, atol=0)


def test_nan_reaches_the_outputs_that_read_it_and_stays_within_its_tiles(isa):
    for tile, memory_format in itertools.product(TILES, FORMATS):
        x = make((1, 3, 25, 25), memory_format=memory_format)
        x[0, 1, 12, 12] = torch.nan
        out = gk.ops.winograd_conv2d(x, make((4, 3, 3, 3)), padding=1, tile=tile)
        bad = out.isnan().any(dim=1)[0]
        assert bad[11:14, 11:14].all()
        reach = 2 * tile
        bad[12 - reach : 13 + reach, 12 - reach : 13 + reach] = False
        assert not bad.any()


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_thread_count_and_repetition_change_no_bit(memory_format, isa):
    before = torch.get_num_threads()
    try:
        for shape, out_c in [((1, 32, 40, 41), 48), ((3, 5, 17, 16), 7), ((1, 160, 7, 7), 96)]:
            for tile in TILES:
                x, weight = make(shape, memory_format=memory_format), make((out_c, shape[1], 3, 3))
                results = []
                for threads in (1, 2, 3, 2):
                    torch.set_num_threads(threads)
                    results.append(gk.ops.winograd_conv2d(x, weight, padding=1, tile=tile))
                assert all(torch.equal(results[0], other) for other in results[1:])
    finally:
        torch.set_num_threads(before)


def test_calls_from_several_python_threads_do_not_disturb_each_other():
    cases = [(make((2, c, 20, 21), c), make((2 * c, c, 3, 3), c)) for c in (3, 8, 24, 40)]
    expected = [gk.ops.winograd_conv2d(x, weight, padding=1) for x, weight in cases]
    wrong: list[int] = []

    def call(index: int) -> None:
        for _ in range(30):
            if not torch.equal(gk.ops.winograd_conv2d(*cases[index], padding=1), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(cases))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_random_cases(isa):
    choose = random.Random(20)
    for _ in range(200):
        tile, padding = choose.choice(TILES), (choose.randint(0, 4), choose.randint(0, 4))
        in_c, out_c, batch = choose.randint(1, 70), choose.randint(1, 70), choose.randint(1, 3)
        h, w = choose.randint(max(1, 3 - 2 * padding[0]), 24), choose.randint(max(1, 3 - 2 * padding[1]), 24)
        seed = choose.randrange(1 << 30)
        x = make((batch, in_c, h, w), seed, memory_format=choose.choice(FORMATS))
        options = {"padding": padding, "activation": choose.choice([None, "relu", "gelu", "hardswish"])}
        if choose.random() < 0.5:
            out_shape = (batch, out_c, h + 2 * padding[0] - 2, w + 2 * padding[1] - 2)
            options |= {
                "skip": make(out_shape, seed + 1, memory_format=choose.choice(FORMATS)),
                "skip_scale": choose.uniform(-2, 2),
            }
        bias = make((out_c,), seed + 2) if choose.random() < 0.5 else None
        check(x, make((out_c, in_c, 3, 3), seed + 3), bias, tile=tile, label=("seed", seed), **options)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_packing_agrees_with_plain_torch_and_unpacks(tile, dtype, isa):
    for out_c, in_c in [(1, 1), (16, 3), (17, 2), (32, 5), (33, 4), (48, 1), (0, 3), (3, 0)]:
        weight = make((out_c, in_c, 3, 3), 7, dtype)
        packed = gk.ops.winograd_conv2d_pack(weight, tile)
        assert packed.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        eps = torch.finfo(packed.dtype).eps
        # Both compute 9 products a filter entry at full precision or in double: at most 9 roundings of terms
        # of size <= 2.
        torch.testing.assert_close(packed, winograd_transforms.pack(weight, tile), rtol=0, atol=9 * eps * 2)
        back = gk.ops.winograd_conv2d_unpack(packed, out_c, in_c, tile)
        # The least-squares way back averages the (tile + 2)^2 rounding errors; its norm is below 6 for every
        # tile.
        torch.testing.assert_close(back, weight.to(packed.dtype), rtol=0, atol=6 * 9 * eps)


def test_agrees_with_torch_on_a_strided_weight(isa):
    weight = make((6, 8, 3, 3)).transpose(0, 1)[:, ::2]
    x = make((1, 3, 8, 8))
    out = gk.ops.winograd_conv2d(x, weight, padding=1)
    expected = F.conv2d(x.double(), weight.double(), padding=1)
    assert_close(out, expected, tolerance(expected, x, weight, 4))
