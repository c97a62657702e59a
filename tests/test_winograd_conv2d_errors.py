"""Wrong arguments of winograd_conv2d: one message from compiled kernel, fake tensor and plain torch."""

from typing import Any

import pytest
import torch
from op_errors import assert_message, assert_message_for_out, message_of
from winograd_cases import make, needs_kernels

import greenkernels as gk
from greenkernels.ops.winograd_conv2d_op import conv, conv_out, conv_plain, pack, packed_conv, packed_plain


def conv_args(**changes: Any) -> list[Any]:
    """The arguments of winograd_conv2d, right but for ``changes``."""
    args = {
        "input": make((2, 8, 5, 6)),
        "weight": make((4, 8, 3, 3)),
        "bias": make((4,)),
        "padding": [1, 1],
        "tile": 4,
    }
    args |= {"activation": None, "activation_param": None, "skip": None, "skip_scale": 1.0}
    return list((args | changes).values())


def packed_args(**changes: Any) -> list[Any]:
    args = {
        "input": make((2, 8, 5, 6)),
        "packed": torch.zeros(36 * 8 * 16),
        "bias": None,
        "out_channels": 4,
        "padding": [1, 1],
    }
    args |= {"tile": 4, "activation": None, "activation_param": None, "skip": None, "skip_scale": 1.0}
    return list((args | changes).values())


NAMES = "None, relu, relu6, leaky_relu, prelu, silu, gelu, sigmoid, tanh, hardswish, hardsigmoid"
WRONG = [
    ({"input": make((8, 5, 6))}, "input must be 4-D, got shape [8, 5, 6]"),
    (
        {"input": torch.zeros(2, 8, 5, 6, dtype=torch.int64)},
        "input must be float16, bfloat16, float32 or float64, got int64",
    ),
    (
        {"input": torch.zeros(2, 8, 5, 6, dtype=torch.complex64)},
        "input must be float16, bfloat16, float32 or float64, got complex64",
    ),
    ({"weight": make((4,))}, "weight must be 4-D, got shape [4]"),
    ({"weight": torch.tensor(1.0)}, "weight must be 4-D, got shape []"),
    ({"weight": make((4, 8, 3, 3), dtype=torch.float64)}, "weight must be float32 as input is, got float64"),
    (
        {"weight": make((4, 7, 3, 3))},
        "weight must be [out_channels, 8, 3, 3] for input [2, 8, 5, 6], got [4, 7, 3, 3]",
    ),
    (
        {"weight": make((4, 8, 5, 5))},
        "weight must be [out_channels, 8, 3, 3] for input [2, 8, 5, 6], got [4, 8, 5, 5]",
    ),
    ({"bias": make((4, 1))}, "bias must be 1-D, got shape [4, 1]"),
    ({"bias": make((5,))}, "bias must have 4 elements, got 5"),
    ({"bias": make((4,), dtype=torch.bfloat16)}, "bias must be float32 as input is, got bfloat16"),
    ({"padding": [-1, 0]}, "padding must be two integers in [0, 2^31), got [-1, 0]"),
    ({"padding": [1, 1 << 62]}, f"padding must be two integers in [0, 2^31), got [1, {1 << 62}]"),
    ({"padding": [1, 1, 1]}, "padding must be two integers in [0, 2^31), got [1, 1, 1]"),
    (
        {"input": make((2, 8, 2, 6)), "padding": [0, 1]},
        "input must be at least 3 x 3 with its padding, got 2 x 8",
    ),
    (
        {"input": make((2, 8, 0, 6)), "padding": [0, 1]},
        "input must be at least 3 x 3 with its padding, got 0 x 8",
    ),
    ({"tile": 5}, "tile must be 2, 4 or 6, got 5"),
    ({"activation": "swish"}, f"activation must be one of {NAMES}, got swish"),
    ({"activation": "none"}, f"activation must be one of {NAMES}, got none"),
    (
        {"activation": "relu", "activation_param": make((1,))},
        "activation_param must be None for relu, got shape [1]",
    ),
    ({"activation_param": make((1,))}, "activation_param must be None for None, got shape [1]"),
    ({"activation": "prelu"}, "activation_param must be a tensor for prelu, got None"),
    (
        {"activation": "prelu", "activation_param": make((3,))},
        "activation_param must have 1 or 4 elements for prelu, got 3",
    ),
    (
        {"activation": "leaky_relu", "activation_param": make((4,))},
        "activation_param must have 1 element for leaky_relu, got 4",
    ),
    (
        {"activation": "prelu", "activation_param": make((4,), dtype=torch.float64)},
        "activation_param must be float32 as input is, got float64",
    ),
    ({"skip": make((2, 4, 5, 5))}, "skip must have shape [2, 4, 5, 6], got [2, 4, 5, 5]"),
    ({"skip": make((4, 5, 6))}, "skip must be 4-D, got shape [4, 5, 6]"),
    ({"skip": make((2, 4, 5, 6), dtype=torch.float16)}, "skip must be float32 as input is, got float16"),
]
WRONG_PACKED = [
    ({"input": make((8, 5, 6))}, "input must be 4-D, got shape [8, 5, 6]"),
    ({"tile": 3}, "tile must be 2, 4 or 6, got 3"),
    ({"out_channels": -1}, "out_channels must be in [0, 2^31), got -1"),
    ({"packed": torch.zeros(2, 2304)}, "packed must be 1-D and contiguous, got shape [2, 2304]"),
    (
        {"packed": torch.zeros(4608, dtype=torch.float64)},
        "packed must be float32 for float32 input, got float64",
    ),
    (
        {"input": make((2, 8, 5, 6), dtype=torch.float64)},
        "packed must be float64 for float64 input, got float32",
    ),
    ({"packed": torch.zeros(99)}, "packed must have 4608 elements for 8 -> 4 channels and tile 4, got 99"),
    (
        {"input": make((2, 7, 5, 6))},
        "packed must have 4032 elements for 7 -> 4 channels and tile 4, got 4608",
    ),
    ({"bias": make((5,))}, "bias must have 4 elements, got 5"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_rejects(changes, message):
    args = conv_args(**changes)
    assert_message(f"winograd_conv2d: {message}", conv, conv_plain, args)
    assert message_of(conv_out, args, out=torch.empty(2, 4, 5, 6)) == f"winograd_conv2d: {message}"


@pytest.mark.parametrize(("changes", "message"), WRONG_PACKED)
def test_packed_rejects(changes, message):
    assert_message(f"winograd_conv2d_packed: {message}", packed_conv, packed_plain, packed_args(**changes))


@pytest.mark.parametrize(
    ("weight", "tile", "message"),
    [
        (make((4, 3, 3)), 4, "weight must be 4-D, got shape [4, 3, 3]"),
        (make((4, 3, 5, 3)), 4, "weight must be [out_channels, in_channels, 3, 3], got [4, 3, 5, 3]"),
        (
            torch.zeros(4, 3, 3, 3, dtype=torch.int8),
            4,
            "weight must be float16, bfloat16, float32 or float64, got int8",
        ),
        (make((4, 3, 3, 3)), 8, "tile must be 2, 4 or 6, got 8"),
    ],
)
def test_pack_rejects(weight, tile, message):
    assert message_of(pack, [weight, tile]) == f"winograd_conv2d_pack: {message}"
    assert message_of(pack, [weight.to("meta"), tile]) == f"winograd_conv2d_pack: {message}"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(2, 4, 5, 5), "out must have shape [2, 4, 5, 6], got [2, 4, 5, 5]"),
        (torch.empty(2, 4, 30), "out must be 4-D, got shape [2, 4, 30]"),
        (torch.empty(2, 4, 5, 6, dtype=torch.float16), "out must be float32 as input is, got float16"),
        (
            torch.empty(2, 1, 5, 6).expand(2, 4, 5, 6),
            "out must not overlap itself, got stride 0 in dimension 1",
        ),
    ],
)
def test_out_rejects(out, message):
    assert_message_for_out(f"winograd_conv2d: {message}", conv_out, conv_args(), out)


@needs_kernels
def test_names_the_bytes_it_could_not_get():
    args = conv_args(padding=[1 << 24, 1 << 24])
    text = message_of(conv, args)
    edge = 2 * (1 << 24) - 2
    size = 2 * 4 * (5 + edge) * (6 + edge) * 4
    assert text == f"winograd_conv2d: out of memory: could not allocate {size} bytes for the output"


def test_rejects_a_mix_of_devices():
    with pytest.raises(
        RuntimeError, match="winograd_conv2d: weight must be on the device of input, cpu, got meta"
    ):
        gk.ops.winograd_conv2d(make((1, 2, 5, 5)), make((3, 2, 3, 3)).to("meta"))


def test_functions_reject_options():
    x, weight = make((1, 2, 5, 5)), make((3, 2, 3, 3))
    packed = gk.ops.winograd_conv2d_pack(weight)
    with pytest.raises(ValueError, match="tile must be 2, 4 or 6, got 5"):
        gk.ops.winograd_conv2d(x, weight, tile=5)
    with pytest.raises(ValueError, match=r"activation must be one of None, relu, .*, got 'swish'"):
        gk.ops.winograd_conv2d(x, weight, activation="swish")
    with pytest.raises(TypeError, match="activation_param must be a Tensor, float or None, got str"):
        gk.ops.winograd_conv2d(x, weight, activation="leaky_relu", activation_param="0.1")
    with pytest.raises(ValueError, match="tile must be 2, 4 or 6, got 3"):
        gk.ops.winograd_conv2d_packed(x, packed, out_channels=3, tile=3)
    with pytest.raises(ValueError, match="tile must be 2, 4 or 6, got 0"):
        gk.ops.winograd_conv2d_pack(weight, 0)
    with pytest.raises(
        RuntimeError,
        match="winograd_conv2d_unpack: packed must have 3456 elements for 6 -> 4 channels and tile 4",
    ):
        gk.ops.winograd_conv2d_unpack(packed, 4, 6)
