"""winograd_conv2d on float16 and bfloat16 maps: computed in float32, rounded once, converted nowhere as a whole."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from conv_cases import KEEPS_OUTPUTS
from torch import nn
from torch.profiler import ProfilerActivity, profile
from winograd_cases import COMPILED, FORMATS, TILES, make, needs_kernels, reference, tolerance

import greenkernels as gk
from greenkernels.nn import WinogradConv2d
from greenkernels.ops.winograd_conv2d_grad_op import input_grad, weight_grad
from greenkernels.planning.candidates.winograd_conv2d import STEM

HALVES = (torch.bfloat16, torch.float16)
# Around a tile, a strip of tiles, a vector and a panel: (in_c, out_c, h, w, padding).
SIZES = [
    (1, 1, 3, 3, 0),
    (3, 17, 11, 9, 1),
    (7, 33, 1, 2, (2, 1)),
    (8, 16, 13, 30, 1),
    (16, 32, 24, 24, 1),
    (17, 48, 5, 61, (0, 2)),
    (33, 15, 14, 14, 1),
    (64, 40, 25, 7, 4),
]


def rounding(expected, dtype):
    """The most that rounding to `dtype` changes a value: half of its last bit."""
    info = torch.finfo(dtype)
    return torch.maximum(
        expected.abs() * info.eps / 2, torch.full_like(expected, info.smallest_normal * info.eps)
    )


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", HALVES)
def test_errors_are_those_of_float32_and_one_rounding(dtype, memory_format, isa):
    for (in_c, out_c, h, w, padding), tile in itertools.product(SIZES, TILES):
        x = make((2, in_c, h, w), 1, dtype, memory_format)
        weight, bias = make((out_c, in_c, 3, 3), 2, dtype), make((out_c,), 3, dtype)
        p_h, p_w = padding if isinstance(padding, tuple) else (padding, padding)
        skip = make((2, out_c, h + 2 * p_h - 2, w + 2 * p_w - 2), 4, dtype)
        terms = {"skip": skip, "skip_scale": -0.7}
        out = gk.ops.winograd_conv2d(x, weight, bias, padding=padding, tile=tile, **terms)
        expected = reference(x, weight, bias, padding=padding, **terms)
        bound = tolerance(expected, x, weight, tile, bias, **terms)
        assert out.dtype == dtype
        assert ((out.double() - expected).abs() <= bound + rounding(expected.abs() + bound, dtype)).all()


@needs_kernels
@pytest.mark.parametrize("activation", [None, "relu", "silu"])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", HALVES)
def test_results_are_the_rounded_results_of_float32(dtype, memory_format, activation, isa):
    for (in_c, out_c, h, w, padding), tile in itertools.product(SIZES, TILES):
        x = make((2, in_c, h, w), 1, dtype, memory_format)
        weight, bias = make((out_c, in_c, 3, 3), 2, dtype), make((out_c,), 3, dtype)
        options = {"padding": padding, "tile": tile, "activation": activation}
        out = gk.ops.winograd_conv2d(x, weight, bias, **options)
        skip = make(out.shape, 4, dtype)
        single = gk.ops.winograd_conv2d(x.float(), weight.float(), bias.float(), **options)
        assert torch.equal(out, single.to(dtype))
        assert out.stride() == single.stride()
        with_skip = gk.ops.winograd_conv2d(x, weight, bias, skip=skip, skip_scale=0.5, **options)
        single = gk.ops.winograd_conv2d(
            x.float(), weight.float(), bias.float(), skip=skip.float(), skip_scale=0.5, **options
        )
        assert torch.equal(with_skip, single.to(dtype))


def one_to_one(x):
    """The convolution that copies its one channel: tile 2 has additions only, and these are exact here."""
    weight = torch.zeros(1, 1, 3, 3, dtype=x.dtype)
    weight[0, 0, 1, 1] = 1
    return gk.ops.winograd_conv2d(x, weight, padding=1, tile=2)


@pytest.mark.parametrize("dtype", HALVES)
def test_every_finite_number_comes_through(dtype, isa):
    """Alone in its tile, so that no sum rounds it: all of float16, of bfloat16 all but what products with 1/4 take out
    of range."""
    numbers = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    size = numbers.float().abs()
    least = 0 if dtype == torch.float16 else 2.0**-120
    numbers = numbers[(size <= 2.0**126) & (size >= least)]
    x = torch.zeros(1, 1, 4, 4 * len(numbers), dtype=dtype)
    x[0, 0, 0, ::4] = numbers
    out = one_to_one(x)
    assert torch.equal(out[0, 0, 0, ::4], numbers)


@pytest.mark.parametrize("dtype", HALVES)
def test_ties_round_to_even_and_large_sums_to_infinity(dtype, isa):
    one, eps = torch.ones(1, dtype=dtype), torch.finfo(dtype).eps
    x, weight = torch.zeros(1, 1, 4, 4, dtype=dtype), torch.zeros(1, 1, 3, 3, dtype=dtype)
    skips = torch.tensor([1, 1 + eps, 1 + 2 * eps, -1 - eps], dtype=dtype).repeat(4).view(1, 1, 4, 4)
    half_step = (one * eps / 2).to(dtype)
    out = gk.ops.winograd_conv2d(x, weight, half_step, padding=1, tile=2, skip=skips)
    assert torch.equal(out, (skips.float() + half_step.float()).to(dtype))
    assert out[0, 0, 0].tolist() == [1, 1 + 2 * eps, 1 + 2 * eps, -1]
    most = torch.full((1, 1, 4, 4), torch.finfo(dtype).max, dtype=dtype)
    out = gk.ops.winograd_conv2d(x, weight, padding=1, tile=2, skip=most, skip_scale=1.5)
    assert (out == torch.inf).all()
    nan = torch.full_like(most, torch.nan)
    assert gk.ops.winograd_conv2d(x, weight, padding=1, tile=2, skip=nan).isnan().all()


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", HALVES)
def test_no_map_is_copied(dtype, memory_format):
    module = WinogradConv2d(32, 48, 3, padding=1).to(dtype).eval()
    x, skip = make((2, 32, 40, 41), 1, dtype, memory_format), make((2, 48, 40, 41), 2, dtype, memory_format)
    with torch.inference_mode():
        module(x, skip)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            out = module(x, skip)
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in profiled.events())
    seen = 0 if KEEPS_OUTPUTS else out.nbytes  # torch's profiler knows only what torch allocates
    assert seen <= allocated <= seen + 4096  # and the bias in float32


@needs_kernels
@pytest.mark.parametrize("dtype", HALVES)
def test_out_and_skip_may_be_one_map(dtype):
    x, weight = make((1, 5, 9, 10), 1, dtype), make((7, 5, 3, 3), 2, dtype)
    skip = make((1, 7, 9, 10), 3, dtype)
    expected = gk.ops.winograd_conv2d(x, weight, padding=1, skip=skip)
    assert gk.ops.winograd_conv2d(x, weight, padding=1, skip=skip, out=skip) is skip
    assert torch.equal(skip, expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_one_dtype_for_all(dtype):
    name = str(dtype).removeprefix("torch.")
    half, single = make((1, 3, 6, 6), dtype=dtype), make((1, 3, 6, 6))
    weight = make((4, 3, 3, 3), dtype=dtype)
    wrong = {
        f"weight must be {name} as input is, got float32": lambda: gk.ops.winograd_conv2d(
            half, weight.float()
        ),
        f"weight must be float32 as input is, got {name}": lambda: gk.ops.winograd_conv2d(single, weight),
        f"bias must be {name} as input is, got float32": lambda: gk.ops.winograd_conv2d(
            half, weight, make((4,))
        ),
        f"skip must be {name} as input is, got float32": lambda: gk.ops.winograd_conv2d(
            half, weight, padding=1, skip=make((1, 4, 6, 6))
        ),
        f"packed must be float32 for {name} input, got {name}": lambda: gk.ops.winograd_conv2d_packed(
            half, gk.ops.winograd_conv2d_pack(weight).to(dtype), out_channels=4
        ),
    }
    for message, call in wrong.items():
        with pytest.raises(RuntimeError, match=message):
            call()


def bound_of_both(x, weight, expected, dtype):
    """Of two results in `dtype`: what each may be off the exact one, torch's partial sums in float32 included."""
    return 2 * (tolerance(expected, x, weight, 4) + rounding(expected.abs() + 1e-3, dtype))


@pytest.mark.parametrize("dtype", HALVES)
def test_a_converted_half_module_is_that_of_a_half_stock_module(dtype):
    stock = nn.Conv2d(9, 21, 3, padding=1).to(dtype).eval()
    module = WinogradConv2d.from_module(stock)
    later = WinogradConv2d.from_module(copy.deepcopy(stock).float()).to(dtype)
    x = make((2, 9, 15, 14), 5, dtype)
    with torch.inference_mode():
        out, expected = module(x), stock(x)
        assert torch.equal(later(x), out)
    exact = reference(x, stock.weight, stock.bias, padding=1)
    assert out.dtype == expected.dtype == dtype
    assert ((out.double() - exact).abs() <= bound_of_both(x, stock.weight, exact, dtype)).all()
    assert ((out.double() - expected.double()).abs() <= bound_of_both(x, stock.weight, exact, dtype)).all()
    assert not (module.fallbacks and COMPILED)
    if COMPILED:
        assert module.packed.dtype == torch.float32
    with pytest.raises(
        RuntimeError, match="weight must be float32 as input is" if COMPILED else "should be the same"
    ):
        module(x.float())


@pytest.mark.parametrize("dtype", HALVES)
def test_autocast_of_a_float32_module_reads_half_maps_and_exact_weights(dtype):
    module = WinogradConv2d(9, 21, 3, padding=1).eval()
    x = make((2, 9, 15, 14), 5)
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype):
        out = module(x)
        stock = nn.functional.conv2d(x, module.weight, module.bias, padding=1)
    assert out.dtype == stock.dtype == dtype
    rounded = x.to(dtype)
    exact = reference(rounded, module.weight, module.bias.to(dtype), padding=1)
    bound = tolerance(exact, rounded, module.weight, 4, module.bias)
    if COMPILED:  # the packed weight stays that of the float32 weight
        assert ((out.double() - exact).abs() <= bound + rounding(exact.abs() + bound, dtype)).all()


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_are_the_rounded_gradients_of_float32(dtype, memory_format, isa):
    for in_c, out_c, h, w, padding in SIZES:
        padding = padding if isinstance(padding, tuple) else (padding, padding)
        x, weight = make((2, in_c, h, w), 1, dtype, memory_format), make((out_c, in_c, 3, 3), 2, dtype)
        out_h, out_w = h + 2 * padding[0] - 2, w + 2 * padding[1] - 2
        grad = make((2, out_c, out_h, out_w), 3, dtype, memory_format)
        for tile in (2, 4):
            found = weight_grad(x, grad, padding, tile)
            assert torch.equal(found, weight_grad(x.float(), grad.float(), padding, tile).to(dtype))
            if max(padding) <= 2:
                found = input_grad(grad, weight, padding, tile)
                assert torch.equal(found, input_grad(grad.float(), weight.float(), padding, tile).to(dtype))


@needs_kernels
@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_copy_no_map(dtype):
    x, grad = make((2, 32, 40, 41), 1, dtype), make((2, 48, 40, 41), 2, dtype)
    weight = make((48, 32, 3, 3), 3, dtype)
    for call in (lambda: weight_grad(x, grad, (1, 1), 4), lambda: input_grad(grad, weight, (1, 1), 4)):
        call()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            out = call()
        allocated = sum(max(0, event.self_cpu_memory_usage) for event in profiled.events())
        assert (
            allocated <= out.nbytes + 4 * weight.numel() + 4096
        )  # and the weight or its gradient in float32


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_are_those_of_torch_up_to_rounding(dtype):
    """Input and weight of a layer whose gradients run our kernels, against float64."""
    x = make((2, 16, 24, 24), 1, dtype).requires_grad_()
    weight = make((32, 16, 3, 3), 2, dtype).requires_grad_()
    grad = make((2, 32, 24, 24), 3, dtype)
    grads = torch.autograd.grad(gk.ops.winograd_conv2d(x, weight, padding=1), (x, weight), grad)
    exact_x, exact_weight = x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    exact = torch.autograd.grad(
        F.conv2d(exact_x, exact_weight, padding=1), (exact_x, exact_weight), grad.double()
    )
    for found, expected in zip(grads, exact, strict=True):
        assert found.dtype == dtype
        # float32 arithmetic stays far below one rounding to 16 bits of the largest value.
        largest = expected.abs().max()
        assert (found.double() - expected).abs().max() <= largest * torch.finfo(dtype).eps


@needs_kernels
@pytest.mark.parametrize("dtype", HALVES)
def test_a_plan_takes_half_layers_and_knows_their_packed_weight(dtype):
    stock = nn.Conv2d(17, 33, 3, padding=1).to(dtype)
    assert STEM.refuses(stock) is None
    for options in STEM.options(stock):
        module = STEM.build(stock, options, None).eval()
        assert STEM.extra_bytes(stock, options) == module.packed.nbytes
    shape = torch.Size((1, 17, 56, 56))
    assert STEM.cold_start(stock, [shape]) == STEM.cold_start(copy.deepcopy(stock).float(), [shape])
