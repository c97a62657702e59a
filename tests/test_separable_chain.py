"""Blocks behind each other in one call of the op, against one call a block."""

import pytest
import torch
from conv_cases import FORMATS, make, needs_kernels
from op_errors import message_of
from test_separable_conv2d import stock_layers
from torch import nn

from greenkernels.nn import DirectConv2d, SeparableConv2d
from greenkernels.ops.separable_conv2d_op import (
    NUMBERS,
    Call,
    _blocks,
    listed,
    listed_layer,
    packed_blocks,
    packed_conv,
)


def blocks():
    """SeparableConv2d -> whether its input is added."""
    sizes = [
        (5, 5, 7, {"expand": False}),
        (7, 33, 7, {}),
        (7, 20, 18, {"stride": 2, "kernel": 5}),
        (18, 40, 18, {}),
    ]
    made = [SeparableConv2d.from_modules(*stock_layers(*of[:3], **of[3])) for of in sizes]
    return dict(zip(made, (False, True, False, True), strict=True))


def layer(in_c, out_c, activation=None, bias=True, **options):
    conv = nn.Conv2d(in_c, out_c, bias=bias, **options)
    return DirectConv2d.from_module(conv, activation=activation).eval()


def layer_lists(conv):
    pairs = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    return listed_layer(conv.packed, conv.bias, conv.out_channels, pairs, conv.groups, conv.activation)


def lists(blocks):
    parts = [listed(Call(*block.packed_arguments(), None, 1.0), adds) for block, adds in blocks.items()]
    return [t for tensors, _ in parts for t in tensors], [n for _, numbers in parts for n in numbers]


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_is_one_call_after_the_other(memory_format, isa):
    x, many = make((2, 5, 23, 19), memory_format=memory_format), blocks()
    out = packed_blocks(x, *lists(many))
    expected = x
    for block, adds in many.items():
        expected = packed_conv(expected, *block.packed_arguments(), expected if adds else None, 1.0)
    assert torch.equal(out, expected)
    assert out.stride() == expected.stride()


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_layers_around_blocks(memory_format, isa):
    x, many = make((2, 6, 23, 19), memory_format=memory_format), blocks()
    first = layer(6, 5, "relu6", kernel_size=3, stride=2, padding=1, dilation=2)
    last = layer(18, 9, bias=False, kernel_size=1, groups=3)
    parts = [layer_lists(first), lists(many), layer_lists(last)]
    with torch.no_grad():
        expected = last(packed_blocks(first(x), *parts[1]))
        out = packed_blocks(x, *([each for part in parts for each in part[i]] for i in (0, 1)))
    assert torch.equal(out, expected)
    assert out.stride() == expected.stride()


@needs_kernels
def test_registration():
    x = make((1, 5, 9, 8), memory_format=torch.channels_last)
    torch.library.opcheck(packed_blocks, (x, *lists(blocks())))
    torch.library.opcheck(packed_blocks, (x.requires_grad_(), *lists(blocks())))


@needs_kernels
def test_refuses_lists_that_do_not_fit():
    x, (tensors, numbers) = make((1, 5, 9, 8)), lists(blocks())

    def refused(tensors, numbers, first=x):
        said = message_of(packed_blocks, (first, tensors, numbers))
        assert message_of(_blocks, (first, tensors, numbers)) == said
        meta = [tensor.to("meta") for tensor in tensors]
        assert message_of(packed_blocks, (first.to("meta"), meta, numbers)) == said
        return said

    own = f"numbers must be {NUMBERS} for each of at least one block, got"
    assert f"{own} 0" in refused([], [])
    assert f"{own} {len(numbers) - 1}" in refused(tensors, numbers[1:])
    assert "numbers must name the tensors of a block or a layer, got 1" in refused(tensors, [1, *numbers[1:]])
    for wrong in (-1, 128, 128 + 64 + 16, 256 + 16):
        said = refused(tensors, [wrong, *numbers[1:]])
        assert f"numbers must name the tensors of a block or a layer, got {wrong}" in said
    assert "numbers must name activations in [0, 10], got 11" in refused(tensors, [*numbers[:-1], 11])
    named = "tensors must be those that numbers name, got"
    assert f"{named} {len(tensors) - 1}" in refused(tensors[:-1], numbers)
    assert f"{named} {len(tensors) + 1}" in refused([*tensors, tensors[0]], numbers)
    assert "hidden_channels must be those of input, 6" in refused(tensors, numbers, first=make((1, 6, 9, 8)))
