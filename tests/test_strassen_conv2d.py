"""Values, layouts and gradients of strassen_conv2d and strassen_conv2d_packed against float64."""

import itertools

import pytest
import torch
from conv_cases import COMPILED, FORMATS, GUARD, assert_close, guarded, make, needs_kernels, views
from direct_cases import reference, tolerance

import greenkernels as gk
from greenkernels.ops import activation as activations

CHANNELS = [1, 3, 15, 16, 17, 31, 32, 33, 70]  # around the widths of a panel, half of one, a vector


def bound_of(expected, x, weight, bias, levels, **terms):
    """Rounding of one product; each level may double the error of the largest values of the block, and 4 covers it."""
    if not levels:
        return tolerance(expected, x, weight, bias, **terms)
    every = tolerance(expected, x, weight, bias, **terms)
    return (4**levels * every.max()).expand_as(every)


def check(x, weight, bias=None, *, levels=0, label=(), **options):
    """Both ops against the reference, and against each other bit by bit."""
    out = gk.ops.strassen_conv2d(x, weight, bias, levels=levels, **options)
    expected = reference(x, weight, bias, **options)
    terms = {name: options[name] for name in ("skip", "skip_scale", "activation") if name in options}
    label = (*label, levels, tuple(x.shape), tuple(weight.shape))
    assert_close(out, expected, bound_of(expected, x, weight, bias, levels, **terms), label)
    assert out.dtype == x.dtype
    packed = gk.ops.strassen_conv2d_pack(weight, levels)
    again = gk.ops.strassen_conv2d_packed(
        x, packed, bias, out_channels=weight.shape[0], levels=levels, **options
    )
    assert torch.equal(out, again) or not COMPILED, label
    assert out.stride() == again.stride(), label
    return out


@pytest.mark.parametrize("memory_format", FORMATS)
def test_ragged_sizes(memory_format, isa):
    maps = itertools.cycle([(1, 1), (3, 5), (7, 7), (1, 14), (13, 5), (4, 4)])
    for index, (in_c, out_c) in enumerate(itertools.product(CHANNELS, CHANNELS)):
        x = make((1 + index % 3, in_c, *next(maps)), index, memory_format=memory_format)
        weight, bias = make((out_c, in_c, 1, 1), index + 1), make((out_c,)) if index % 2 else None
        check(
            x, weight, bias, levels=index % 4 if index % 5 == 0 else 0, activation=[None, "relu"][index % 2]
        )


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("in_c", "out_c", "size"), [(64, 256, 56), (1024, 256, 14), (160, 960, 7)])
def test_real_layers(in_c, out_c, size, memory_format, isa):
    x = make((1, in_c, size, size), 1, memory_format=memory_format)
    weight, bias = make((out_c, in_c, 1, 1), 2), make((out_c,), 3)
    out = check(x, weight, bias, activation="relu6")
    for skip_format in FORMATS:
        skip = out.clone(memory_format=skip_format)
        check(x, weight, bias, activation="relu", skip=skip, skip_scale=-0.5)
    check(x, weight, bias, levels=1, skip=out)


@pytest.mark.parametrize("name", activations.NAMES)
def test_activations(name, isa):
    params = {
        "leaky_relu": [0.2, torch.tensor([-0.5])],
        "prelu": [make((1,)), make((38,)), make((38, 1, 1))],
    }
    for param, memory_format in itertools.product(params.get(name, [None]), FORMATS):
        x = 2 * make((2, 6, 9, 10), 1, memory_format=memory_format)
        options = {"activation": name, "activation_param": param}
        check(x, make((38, 6, 1, 1), 3), make((38,), 4), **options)
        skip = 3 * make((2, 38, 9, 10), 2)
        check(x, make((38, 6, 1, 1), 3), None, skip=skip, skip_scale=-0.7, **options)


def test_empty_sizes_give_empty_or_bias_only(isa):
    bias = make((4,))
    for shape in [(0, 3, 5, 5), (1, 3, 0, 4), (1, 0, 5, 5), (2, 0, 1, 1)]:
        out = gk.ops.strassen_conv2d(make(shape), make((4, shape[1], 1, 1)), bias, levels=1)
        assert out.shape == (shape[0], 4, *shape[2:])
        assert torch.equal(out, bias.view(1, 4, 1, 1).expand_as(out))
    assert gk.ops.strassen_conv2d(make((1, 3, 5, 5)), make((0, 3, 1, 1))).shape == (1, 0, 5, 5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype, isa):
    for memory_format, (in_c, out_c) in itertools.product(FORMATS, [(1, 1), (3, 17), (33, 32)]):
        x = make((2, in_c, 11, 9), 1, dtype, memory_format)
        weight, bias = make((out_c, in_c, 1, 1), 2, dtype), make((out_c,), 3, dtype)
        skip = make((2, out_c, 11, 9), 4, dtype)
        check(x, weight, bias, activation="silu", skip=skip, skip_scale=0.5)


def test_nan_reaches_only_the_pixels_that_read_it(isa):
    for memory_format in FORMATS:
        x = make((1, 20, 9, 9), memory_format=memory_format)
        x[0, 1, 4, 4] = torch.nan
        bad = gk.ops.strassen_conv2d(x, make((37, 20, 1, 1)), activation="relu").isnan()
        assert bad[0, :, 4, 4].all()
        assert bad.sum() == 37


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_thread_count_and_repetition_change_no_bit(memory_format, isa):
    before = torch.get_num_threads()
    try:
        for shape, out_c in [((1, 320, 20, 21), 96), ((5, 64, 14, 14), 200)]:
            x, weight = make(shape, memory_format=memory_format), make((out_c, shape[1], 1, 1))
            results = []
            for threads in (1, 2, 3, 2):
                torch.set_num_threads(threads)
                results.append(gk.ops.strassen_conv2d(x, weight))
            assert all(torch.equal(results[0], other) for other in results[1:])
    finally:
        torch.set_num_threads(before)


def test_any_strides_are_accepted(isa):
    x, weight, bias = make((2, 5, 9, 7), 1), make((6, 5, 1, 1), 2), make((6,), 3)
    skip = make((2, 6, 9, 7), 4)
    expected = gk.ops.strassen_conv2d(x, weight, bias, skip=skip)
    for name, view in views(x).items():
        torch.testing.assert_close(gk.ops.strassen_conv2d(view, weight, bias, skip=skip), expected, msg=name)
    for name, view in views(skip).items():
        assert torch.equal(gk.ops.strassen_conv2d(x, weight, bias, skip=view), expected), name
    for out in views(torch.zeros(2, 6, 9, 7)).values():
        gk.ops.strassen_conv2d(x, weight, bias, skip=skip, out=out)
        torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_reads_and_writes_stay_within_their_tensors(memory_format, isa):
    """NaN around every argument must not leak in, and what lies around out must stay."""
    for h, w, in_c, out_c in [(1, 1, 1, 1), (5, 7, 3, 17), (13, 9, 17, 5), (4, 6, 270, 33)]:
        x, _ = guarded(make((2, in_c, h, w), 1, memory_format=memory_format))
        weight, _ = guarded(make((out_c, in_c, 1, 1), 2))
        bias, param = guarded(make((out_c,), 3))[0], guarded(make((out_c,), 4))[0]
        skip, _ = guarded(make((2, out_c, h, w), 5, memory_format=memory_format))
        options = {"activation": "prelu", "activation_param": param, "skip": skip}
        expected = reference(x, weight, bias, **options)
        out, buffer = guarded(torch.zeros(expected.shape).contiguous(memory_format=memory_format), fill=7.0)
        assert gk.ops.strassen_conv2d(x, weight, bias, out=out, **options) is out
        bound = tolerance(expected, x, weight, bias, skip, activation="prelu")
        assert_close(out, expected, bound, (h, w, in_c, out_c))
        assert (buffer[:GUARD] == 7).all()
        assert (buffer[-GUARD:] == 7).all()


def test_out_may_be_an_argument(isa):
    for memory_format, channels in itertools.product(FORMATS, (6, 300)):
        x, weight = (
            make((2, channels, 9, 7), 1, memory_format=memory_format),
            make((channels, channels, 1, 1), 2),
        )
        expected = reference(x, weight, skip=x, activation="relu")
        for out in (x.clone(), x.clone().contiguous()):
            given = out.clone()
            source = out if out.is_contiguous() else given
            gk.ops.strassen_conv2d(source, weight, skip=out, activation="relu", out=out)
            bound = tolerance(expected, x, weight, skip=x, activation="relu")
            assert_close(out, expected, bound, (memory_format, channels))


# --- gradients


@pytest.mark.parametrize("levels", [0, 1])
@pytest.mark.parametrize("name", [None, "relu", "prelu", "gelu"])
def test_gradcheck(name, levels):
    tensors = [make((2, 4, 3, 5), 1, torch.float64), make((6, 4, 1, 1), 2, torch.float64)]
    tensors += [make((6,), 3, torch.float64), make((2, 6, 3, 5), 4, torch.float64)]
    tensors += [make((6,), 5, torch.float64)] if name == "prelu" else []
    args = [t.requires_grad_() for t in tensors]
    packed = gk.ops.strassen_conv2d_pack(args[1].detach(), levels)

    def function(x, weight, bias, skip, *params):
        options = {"activation": name, "activation_param": params[0] if params else None, "skip": skip}
        return gk.ops.strassen_conv2d(x, weight, bias, levels=levels, skip_scale=-0.5, **options)

    def with_packed(x, bias, *params):
        options = {"activation": name, "activation_param": params[0] if params else None}
        return gk.ops.strassen_conv2d_packed(x, packed, bias, out_channels=6, levels=levels, **options)

    assert torch.autograd.gradcheck(function, args, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, args, fast_mode=True)
    assert torch.autograd.gradcheck(with_packed, (args[0], args[2], *args[4:]), fast_mode=True)
