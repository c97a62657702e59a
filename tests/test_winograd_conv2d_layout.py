"""Strides, memory formats, out= and the bounds of memory of winograd_conv2d."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from conv_cases import GUARD, guarded, views
from winograd_cases import (
    COMPILED,
    FORMATS,
    TILES,
    assert_close,
    make,
    needs_kernels,
    reference,
    tolerance,
)

import greenkernels as gk


@pytest.mark.parametrize("tile", TILES)
def test_any_strides_are_accepted(tile, isa):
    x, weight, bias, skip = make((2, 5, 9, 7), 1), make((6, 5, 3, 3), 2), make((6,), 3), make((2, 6, 9, 7), 4)
    expected = gk.ops.winograd_conv2d(x, weight, bias, padding=1, tile=tile, skip=skip)
    for name, view in views(x).items():
        assert torch.equal(
            gk.ops.winograd_conv2d(view, weight, bias, padding=1, tile=tile, skip=skip), expected
        ), name
    for name, view in views(skip).items():
        assert torch.equal(
            gk.ops.winograd_conv2d(x, weight, bias, padding=1, tile=tile, skip=view), expected
        ), name
    for name, view in views(weight).items():
        assert torch.equal(
            gk.ops.winograd_conv2d(x, view, bias, padding=1, tile=tile, skip=skip), expected
        ), name
    both = torch.stack([bias, bias], dim=1)
    assert torch.equal(
        gk.ops.winograd_conv2d(x, weight, both[:, 0], padding=1, tile=tile, skip=skip), expected
    )


def test_expanded_and_overlapping_input(isa):
    weight = make((4, 3, 3, 3))
    one_row = make((3, 12))
    inputs = [
        make((1, 1, 8, 8)).expand(2, 3, 8, 8),
        make((1, 3, 1, 8)).expand(2, 3, 8, 8),
        one_row.as_strided((2, 3, 8, 8), (1, 12, 0, 1)),
        one_row.as_strided((1, 3, 5, 5), (36, 7, 1, 1)),
    ]
    for x in inputs:
        expected = reference(x, weight, padding=1)
        assert_close(
            gk.ops.winograd_conv2d(x, weight, padding=1),
            expected,
            tolerance(expected, x, weight, 4),
            x.stride(),
        )


def test_strides_of_the_output_are_those_of_torch():
    shapes = [
        (2, 3, 8, 8),
        (2, 1, 8, 8),
        (1, 1, 1, 1),
        (2, 3, 1, 1),
        (1, 3, 1, 5),
        (1, 1, 5, 1),
        (3, 1, 1, 4),
        (0, 3, 5, 5),
        (1, 4, 3, 1),
    ]
    for shape, out_c, memory_format in itertools.product(shapes, (1, 4), FORMATS):
        x, weight = make(shape).to(memory_format=memory_format), make((out_c, shape[1], 3, 3))
        inputs = [
            x,
            x.clone(memory_format=torch.preserve_format),
            x.transpose(2, 3),
            x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
        ]
        for variant in inputs:
            out = gk.ops.winograd_conv2d(variant, weight, padding=1)
            expected = F.conv2d(variant, weight, padding=1)
            assert out.stride() == expected.stride(), (shape, out_c, variant.stride())
            meta = gk.ops.winograd_conv2d(variant.to("meta"), weight.to("meta"), padding=1)
            assert meta.stride() == out.stride(), (shape, out_c, variant.stride())


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("memory_format", FORMATS)
def test_reads_and_writes_stay_within_their_tensors(tile, memory_format, isa):
    """NaN around every argument must not leak in, and what lies around out must stay."""
    for h, w, in_c, out_c, padding in [
        (1, 1, 1, 1, 1),
        (5, 7, 3, 17, 1),
        (13, 9, 17, 5, 0),
        (4, 6, 33, 32, 2),
        (3, 3, 8, 16, 1),
    ]:
        x, _ = guarded(make((2, in_c, h, w), 1, memory_format=memory_format))
        weight, _ = guarded(make((out_c, in_c, 3, 3), 2))
        bias, param = guarded(make((out_c,), 3))[0], guarded(make((out_c,), 4))[0]
        expected = reference(x, weight, bias, padding=padding, activation="prelu", activation_param=param)
        skip, _ = guarded(make(tuple(expected.shape), 5, memory_format=memory_format))
        options = {
            "padding": padding,
            "tile": tile,
            "activation": "prelu",
            "activation_param": param,
            "skip": skip,
        }
        expected = reference(
            x, weight, bias, **{name: value for name, value in options.items() if name != "tile"}
        )
        out, buffer = guarded(torch.zeros(expected.shape).contiguous(memory_format=memory_format), fill=7.0)
        assert gk.ops.winograd_conv2d(x, weight, bias, out=out, **options) is out
        assert_close(
            out,
            expected,
            tolerance(expected, x, weight, tile, bias, skip, activation="prelu"),
            (h, w, in_c, out_c),
        )
        assert (buffer[:GUARD] == 7).all()
        assert (buffer[-GUARD:] == 7).all()
        packed, _ = guarded(gk.ops.winograd_conv2d_pack(weight, tile))
        again = gk.ops.winograd_conv2d_packed(x, packed, bias, out_channels=out_c, **options)
        assert torch.equal(again, out) or not COMPILED


@needs_kernels
def test_a_packed_weight_need_not_be_aligned(isa):
    x, weight = make((1, 5, 9, 9)), make((7, 5, 3, 3))
    packed = gk.ops.winograd_conv2d_pack(weight)
    for offset in (1, 3, 8):
        shifted = torch.cat([torch.full((offset,), torch.nan), packed])[offset:]
        out = gk.ops.winograd_conv2d_packed(x, shifted, out_channels=7)
        assert torch.equal(out, gk.ops.winograd_conv2d(x, weight))


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_out_of_any_strides_is_written(memory_format, isa):
    x, weight, skip = (
        make((2, 5, 9, 7), memory_format=memory_format),
        make((6, 5, 3, 3)),
        make((2, 6, 9, 7), 4),
    )
    packed = gk.ops.winograd_conv2d_pack(weight)
    expected = gk.ops.winograd_conv2d(x, weight, padding=1, skip=skip)
    for name, out in {
        "nhwc": torch.empty(2, 6, 9, 7).contiguous(memory_format=torch.channels_last),
        **views(torch.zeros(2, 6, 9, 7)),
    }.items():
        version = out._version
        gk.ops.winograd_conv2d(x, weight, padding=1, skip=skip, out=out)
        assert torch.equal(out, expected), name
        assert out._version > version
        gk.ops.winograd_conv2d_packed(x, packed, out_channels=6, padding=1, skip=skip, out=out.zero_())
        assert torch.equal(out, expected), name
    half = torch.empty(2, 6, 9, 7, dtype=torch.bfloat16)
    gk.ops.winograd_conv2d(x.bfloat16(), weight.bfloat16(), padding=1, out=half)
    assert torch.equal(half, gk.ops.winograd_conv2d(x.bfloat16(), weight.bfloat16(), padding=1))


def test_out_may_be_an_argument(isa):
    for memory_format in FORMATS:
        x, weight, bias = (
            make((2, 6, 9, 7), 1, memory_format=memory_format),
            make((6, 6, 3, 3), 2),
            make((6,), 3),
        )
        expected = gk.ops.winograd_conv2d(x, weight, bias, padding=1, skip=x, activation="relu")
        inout = x.clone()
        gk.ops.winograd_conv2d(inout, weight, bias, padding=1, skip=inout, activation="relu", out=inout)
        assert torch.equal(inout, expected)
        skip = x.clone()
        gk.ops.winograd_conv2d(x, weight, bias, padding=1, skip=skip, activation="relu", out=skip)
        assert torch.equal(skip, expected)
        # A skip that overlaps out, but not element on element.
        buffer = torch.cat([torch.zeros(3), make((2 * 6 * 9 * 7,), 5)])
        skip, out = buffer[3:].view(2, 6, 9, 7), buffer[:-3].view(2, 6, 9, 7)
        expected = gk.ops.winograd_conv2d(x, weight, bias, padding=1, skip=skip.clone())
        gk.ops.winograd_conv2d(x, weight, bias, padding=1, skip=skip, out=out)
        assert torch.equal(out, expected)


def test_out_refuses_gradients():
    x, weight = make((1, 2, 5, 5)).requires_grad_(), make((3, 2, 3, 3))
    out = torch.empty(1, 3, 5, 5)
    with pytest.raises(
        RuntimeError, match=r"winograd_conv2d: functions with out=\.\.\. arguments don't support automatic"
    ):
        gk.ops.winograd_conv2d(x, weight, padding=1, out=out)
    with torch.no_grad():
        gk.ops.winograd_conv2d(x, weight, padding=1, out=out)
    with torch.inference_mode():
        gk.ops.winograd_conv2d(x, weight, padding=1, out=torch.empty(1, 3, 5, 5))
