"""Wrong arguments of depthwise_conv2d: one message from compiled kernel, fake tensor and plain torch."""

from typing import Any

import pytest
import torch
from conv_cases import make, needs_kernels
from op_errors import assert_message, assert_message_for_out, message_of

import greenkernels as gk
from greenkernels.ops.depthwise_conv2d_op import conv, conv_out, conv_plain, pack, packed_conv, packed_plain

GEOMETRY = {"stride": [2, 1], "padding": [1, 1], "dilation": [1, 1]}
EPILOGUE = {"activation": None, "activation_param": None, "skip": None, "skip_scale": 1.0}


def conv_args(**changes: Any) -> list[Any]:
    """The arguments of depthwise_conv2d, right but for ``changes``."""
    args = {"input": make((2, 6, 5, 6)), "weight": make((6, 1, 3, 3)), "bias": make((6,))}
    return list((args | GEOMETRY | EPILOGUE | changes).values())


def packed_args(**changes: Any) -> list[Any]:
    args = {"input": make((2, 6, 5, 6)), "packed": torch.zeros(9 * 16), "bias": None}
    shape = {"kernel_size": [3, 3]}
    return list((args | shape | GEOMETRY | EPILOGUE | changes).values())


WRONG = [
    ({"input": make((6, 5, 6))}, "input must be 4-D, got shape [6, 5, 6]"),
    (
        {"input": torch.zeros(2, 6, 5, 6, dtype=torch.int64)},
        "input must be float16, bfloat16, float32 or float64, got int64",
    ),
    ({"weight": make((4,))}, "weight must be 4-D, got shape [4]"),
    ({"weight": torch.tensor(1.0)}, "weight must be 4-D, got shape []"),
    ({"weight": make((6, 1, 3, 3), dtype=torch.float64)}, "weight must be float32 as input is, got float64"),
    *(
        (
            {"weight": make(shape)},
            f"weight must be [6, 1, kernel_h, kernel_w] for input [2, 6, 5, 6], got {list(shape)}",
        )
        for shape in ((6, 2, 3, 3), (4, 1, 3, 3), (6, 1, 3, 0))
    ),
    ({"bias": make((5,))}, "bias must have 6 elements, got 5"),
    ({"stride": [0, 1]}, "stride must be two integers in [1, 2^31), got [0, 1]"),
    ({"padding": [-1, 0]}, "padding must be two integers in [0, 2^31), got [-1, 0]"),
    ({"dilation": [1, 0]}, "dilation must be two integers in [1, 2^31), got [1, 0]"),
    ({"stride": [1, 1, 1]}, "stride must be two integers in [1, 2^31), got [1, 1, 1]"),
    (
        {"dilation": [4, 1], "padding": [1, 0]},
        "input must be at least as large as the filter, 9 x 3, with its padding, got 7 x 6",
    ),
    (
        {"input": make((2, 6, 0, 6)), "padding": [0, 1]},
        "input must be at least as large as the filter, 3 x 3, with its padding, got 0 x 8",
    ),
    (
        {"activation": "relu", "activation_param": make((1,))},
        "activation_param must be None for relu, got shape [1]",
    ),
    ({"activation": "prelu"}, "activation_param must be a tensor for prelu, got None"),
    ({"skip": make((2, 6, 5, 5))}, "skip must have shape [2, 6, 3, 6], got [2, 6, 5, 5]"),
    ({"skip": make((2, 6, 3, 6), dtype=torch.float16)}, "skip must be float32 as input is, got float16"),
]
WRONG_PACKED = [
    ({"input": make((6, 5, 6))}, "input must be 4-D, got shape [6, 5, 6]"),
    ({"kernel_size": [3]}, "kernel_size must be two integers in [1, 2^31), got [3]"),
    ({"kernel_size": [0, 3]}, "kernel_size must be two integers in [1, 2^31), got [0, 3]"),
    ({"packed": torch.zeros(2, 72)}, "packed must be 1-D and contiguous, got shape [2, 72]"),
    (
        {"packed": torch.zeros(144, dtype=torch.float64)},
        "packed must be float32 for float32 input, got float64",
    ),
    (
        {"packed": torch.zeros(99)},
        "packed must have 144 elements for 6 channels and kernel_size [3, 3], got 99",
    ),
    ({"bias": make((5,))}, "bias must have 6 elements, got 5"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_rejects(changes, message):
    args = conv_args(**changes)
    assert_message(f"depthwise_conv2d: {message}", conv, conv_plain, args)
    assert message_of(conv_out, args, out=torch.empty(2, 6, 3, 6)) == f"depthwise_conv2d: {message}"


@pytest.mark.parametrize(("changes", "message"), WRONG_PACKED)
def test_packed_rejects(changes, message):
    assert_message(f"depthwise_conv2d_packed: {message}", packed_conv, packed_plain, packed_args(**changes))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (make((4, 1, 3)), "weight must be 4-D, got shape [4, 1, 3]"),
        (
            torch.zeros(4, 1, 3, 3, dtype=torch.int8),
            "weight must be float16, bfloat16, float32 or float64, got int8",
        ),
        *(
            (make(shape), f"weight must be [channels, 1, kernel_h, kernel_w], got {list(shape)}")
            for shape in ((4, 1, 0, 3), (4, 2, 3, 3))
        ),
    ],
)
def test_pack_rejects(weight, message):
    assert message_of(pack, [weight]) == f"depthwise_conv2d_pack: {message}"
    assert message_of(pack, [weight.to("meta")]) == f"depthwise_conv2d_pack: {message}"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(2, 6, 5, 6), "out must have shape [2, 6, 3, 6], got [2, 6, 5, 6]"),
        (torch.empty(2, 6, 3, 6, dtype=torch.float16), "out must be float32 as input is, got float16"),
        (
            torch.empty(2, 1, 3, 6).expand(2, 6, 3, 6),
            "out must not overlap itself, got stride 0 in dimension 1",
        ),
    ],
)
def test_out_rejects(out, message):
    assert_message_for_out(f"depthwise_conv2d: {message}", conv_out, conv_args(), out)


@needs_kernels
def test_names_the_bytes_it_could_not_get():
    edge = 1 << 25
    text = message_of(conv, conv_args(padding=[edge // 2, edge // 2], stride=[1, 1]))
    size = 2 * 6 * (3 + edge) * (4 + edge) * 4
    assert text == f"depthwise_conv2d: out of memory: could not allocate {size} bytes for the output"


def test_functions_reject_options():
    x, weight = make((1, 2, 5, 5)), make((2, 1, 3, 3))
    with pytest.raises(ValueError, match=r"activation must be one of None, relu, .*, got 'swish'"):
        gk.ops.depthwise_conv2d(x, weight, activation="swish")
    with pytest.raises(TypeError, match="activation_param must be a Tensor, float or None, got str"):
        gk.ops.depthwise_conv2d(x, weight, activation="leaky_relu", activation_param="0.1")
    packed = gk.ops.depthwise_conv2d_pack(weight)
    with pytest.raises(
        RuntimeError, match="depthwise_conv2d_unpack: packed must have 144 elements for 4 channels"
    ):
        gk.ops.depthwise_conv2d_unpack(packed[1:], 4, 3)
