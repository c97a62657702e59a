"""Strides, memory formats, out= and the bounds of memory of depthwise_conv2d."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILED, FORMATS, GUARD, assert_close, guarded, make, needs_kernels, views
from direct_cases import reference, tolerance

import greenkernels as gk


def test_any_strides_are_accepted(isa):
    x, weight, bias = make((2, 5, 9, 7), 1), make((5, 1, 3, 3), 2), make((5,), 3)
    skip = make((2, 5, 5, 4), 4)
    options = {"stride": 2, "padding": 1}
    expected = gk.ops.depthwise_conv2d(x, weight, bias, skip=skip, **options)
    for name, view in views(x).items():
        assert torch.equal(gk.ops.depthwise_conv2d(view, weight, bias, skip=skip, **options), expected), name
    for name, view in views(skip).items():
        assert torch.equal(gk.ops.depthwise_conv2d(x, weight, bias, skip=view, **options), expected), name
    for name, view in views(weight).items():
        assert torch.equal(gk.ops.depthwise_conv2d(x, view, bias, skip=skip, **options), expected), name


def test_expanded_and_overlapping_input(isa):
    weight, row = make((3, 1, 3, 3)), make((3, 12))
    inputs = [
        make((1, 1, 8, 8)).expand(2, 3, 8, 8),
        make((1, 3, 1, 8)).expand(2, 3, 8, 8),
        row.as_strided((2, 3, 8, 8), (1, 12, 0, 1)),
    ]
    for x in inputs:
        expected = reference(x, weight, padding=1, groups=3)
        assert_close(
            gk.ops.depthwise_conv2d(x, weight, padding=1),
            expected,
            tolerance(expected, x, weight),
            x.stride(),
        )


def test_strides_of_the_output_are_those_of_torch():
    shapes = [(2, 3, 8, 8), (2, 1, 8, 8), (1, 1, 1, 1), (2, 3, 1, 1), (1, 3, 1, 5), (0, 3, 5, 5)]
    for shape, memory_format in itertools.product(shapes, FORMATS):
        x = make(shape).to(memory_format=memory_format)
        for variant in (x, x.transpose(2, 3), x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)):
            weight = make((variant.shape[1], 1, 1, 1))
            out = gk.ops.depthwise_conv2d(variant, weight, stride=2)
            expected = F.conv2d(variant, weight, stride=2, groups=variant.shape[1])
            assert out.stride() == expected.stride(), (shape, variant.stride())
            meta = gk.ops.depthwise_conv2d(variant.to("meta"), weight.to("meta"), stride=2)
            assert meta.stride() == out.stride(), (shape, variant.stride())


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_reads_and_writes_stay_within_their_tensors(stride, memory_format, isa):
    """NaN around every argument must not leak in, and what lies around out must stay."""
    for h, w, channels, kernel, padding in [
        (1, 1, 1, 1, 0),
        (5, 7, 17, 3, 1),
        (13, 9, 5, 3, 0),
        (4, 6, 33, 5, 2),
        (21, 33, 16, 3, 1),
        (8, 35, 40, 7, 3),
    ]:
        x, _ = guarded(make((2, channels, h, w), 1, memory_format=memory_format))
        weight, _ = guarded(make((channels, 1, kernel, kernel), 2))
        bias, param = guarded(make((channels,), 3))[0], guarded(make((channels,), 4))[0]
        geometry = {"stride": stride, "padding": padding}
        plain = reference(x, weight, bias, groups=channels, **geometry)
        skip, _ = guarded(make(tuple(plain.shape), 5, memory_format=memory_format))
        options = {**geometry, "activation": "prelu", "activation_param": param, "skip": skip}
        expected = reference(x, weight, bias, groups=channels, **options)
        out, buffer = guarded(torch.zeros(expected.shape).contiguous(memory_format=memory_format), fill=7.0)
        assert gk.ops.depthwise_conv2d(x, weight, bias, out=out, **options) is out
        bound = tolerance(expected, x, weight, bias, skip, activation="prelu")
        assert_close(out, expected, bound, (h, w, channels, kernel))
        assert (buffer[:GUARD] == 7).all()
        assert (buffer[-GUARD:] == 7).all()
        packed, _ = guarded(gk.ops.depthwise_conv2d_pack(weight))  # which also moves it off its alignment
        again = gk.ops.depthwise_conv2d_packed(x, packed, bias, kernel_size=kernel, **options)
        assert torch.equal(again, out) or not COMPILED


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_out_of_any_strides_is_written(memory_format, isa):
    x, weight = make((2, 5, 17, 13), memory_format=memory_format), make((5, 1, 3, 3))
    skip = make((2, 5, 9, 7), 4)
    options = {"stride": 2, "padding": 1, "skip": skip}
    expected = gk.ops.depthwise_conv2d(x, weight, **options)
    nhwc = torch.empty(2, 5, 9, 7).contiguous(memory_format=torch.channels_last)
    for name, out in {"nhwc": nhwc, **views(torch.zeros(2, 5, 9, 7))}.items():
        version = out._version
        gk.ops.depthwise_conv2d(x, weight, out=out, **options)
        torch.testing.assert_close(out, expected, msg=name)
        assert out._version > version


def test_out_may_be_an_argument(isa):
    for memory_format in FORMATS:
        x, weight = make((2, 6, 9, 7), 1, memory_format=memory_format), make((6, 1, 3, 3), 2)
        expected = gk.ops.depthwise_conv2d(x, weight, padding=1, skip=x, activation="relu")
        inout = x.clone()
        gk.ops.depthwise_conv2d(inout, weight, padding=1, skip=inout, activation="relu", out=inout)
        assert torch.equal(inout, expected)
        skip = x.clone()
        gk.ops.depthwise_conv2d(x, weight, padding=1, skip=skip, activation="relu", out=skip)
        assert torch.equal(skip, expected)


def test_out_refuses_gradients():
    x, weight, out = make((1, 2, 5, 5)).requires_grad_(), make((2, 1, 3, 3)), torch.empty(1, 2, 5, 5)
    with pytest.raises(
        RuntimeError, match=r"depthwise_conv2d: functions with out=\.\.\. arguments don't support"
    ):
        gk.ops.depthwise_conv2d(x, weight, padding=1, out=out)
    with torch.no_grad():
        gk.ops.depthwise_conv2d(x, weight, padding=1, out=out)
