"""int8_conv2d as an op of torch: opcheck, compile, autocast, wrong arguments, the way without compiled kernels."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conv_cases import COMPILE_BACKEND, make, needs_kernels
from int8_cases import integers
from op_errors import message_of, on_meta

import greenkernels as gk
from greenkernels.ops.int8_conv2d_op import conv, conv_plain, pack, packed_conv, packed_plain, unpack


def conv_args(dtype: torch.dtype = torch.float32, **changes: Any) -> list[Any]:
    """The arguments of int8_conv2d, right but for ``changes``."""
    is_float = dtype.is_floating_point
    args = {
        "input": make((2, 6, 9, 8), 1, dtype) if is_float else integers((2, 6, 9, 8), dtype),
        "weight": integers((34, 3, 3, 3), torch.int8),
        "input_scale": None if is_float else torch.rand(2),
        "weight_scale": torch.rand(34),
        "input_zero_point": None if is_float else torch.full((1,), 3, dtype=torch.int32),
        "bias": torch.randn(34),
        "stride": [2, 1],
        "padding": [1, 0],
        "dilation": [1, 2],
        "groups": 2,
        "activation": "prelu",
        "activation_param": torch.rand(34),
        "skip": make((2, 34, 5, 4), 2),
        "skip_scale": 0.5,
        "out_scale": None,
        "out_zero_point": 0,
    }
    return list((args | changes).values())


def packed_args(**changes: Any) -> list[Any]:
    input, weight, *rest = conv_args()
    args = {"input": input, "packed": pack(weight, 2), "out_channels": 34, "kernel_size": [3, 3]}
    return [*(args | changes).values(), *rest]


@pytest.mark.parametrize("out_scale", [None, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.int8])
def test_opcheck(dtype, out_scale):
    args = conv_args(dtype, out_scale=out_scale, out_zero_point=7)
    torch.library.opcheck(conv, args)
    torch.library.opcheck(packed_conv, (args[0], pack(args[1], 2), 34, [3, 3], *args[2:]))
    if out_scale is None:  # else a rounding apart: roundings before it differ
        torch.testing.assert_close(conv(*args), conv_plain(*args))
    assert conv_plain(*args).stride() == conv(*args).stride()
    args = packed_args()
    torch.testing.assert_close(packed_conv(*args), packed_plain(*args))


def test_opcheck_of_the_other_variants():
    weight = integers((34, 3, 3, 3), torch.int8)
    torch.library.opcheck(pack, (weight, 2))
    torch.library.opcheck(unpack, (pack(weight, 2), 34, 3, [3, 3], 2))


def test_compiles_without_graph_breaks_and_with_dynamic_sizes():
    def function(x, weight, scale):
        hidden = gk.ops.int8_conv2d(x, weight, None, scale, padding=1, activation="relu")
        return gk.ops.int8_conv2d(hidden, weight, None, scale, stride=2)

    compiled = torch.compile(function, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)
    for size in (9, 14):
        args = torch.randn(2, 8, size, size + 1), integers((8, 8, 3, 3), torch.int8), torch.rand(8) + 0.1
        torch.testing.assert_close(compiled(*args), function(*args))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_as_a_convolution_does(dtype):
    x, weight, scale = make((1, 4, 6, 6)), integers((8, 4, 3, 3), torch.int8), torch.full((8,), 0.01)
    with torch.autocast("cpu", dtype=dtype):
        out = gk.ops.int8_conv2d(x, weight, None, scale, skip=torch.ones(1, 8, 4, 4))
    assert torch.equal(out, gk.ops.int8_conv2d(x.to(dtype), weight, None, scale, skip=torch.ones(1, 8, 4, 4)))
    q = integers((1, 4, 6, 6), torch.uint8)
    with torch.autocast("cpu", dtype=dtype):
        assert gk.ops.int8_conv2d(q, weight, torch.ones(1), scale).dtype == torch.float32


WRONG = [
    ({"input": make((6, 9, 8))}, "input must be 4-D, got shape [6, 9, 8]"),
    (
        {"input": make((2, 6, 9, 8)).double()},
        "input must be uint8, int8, float16, bfloat16 or float32, got float64",
    ),
    ({"weight": integers((34, 3, 3), torch.int8)}, "weight must be 4-D, got shape [34, 3, 3]"),
    ({"weight": integers((34, 3, 3, 3), torch.uint8)}, "weight must be int8, got uint8"),
    (
        {"weight": integers((34, 3, 0, 3), torch.int8)},
        "weight must be [out_channels, in_channels / groups, kernel_h, kernel_w], got [34, 3, 0, 3]",
    ),
    ({"groups": 4}, "groups must be positive and divide 34 output channels, got 4"),
    ({"groups": 17}, "groups must be positive and divide 6 input and 34 output channels, got 17"),
    (
        {"weight": integers((34, 4, 3, 3), torch.int8)},
        "weight must be [out_channels, 3, kernel_h, kernel_w] for input [2, 6, 9, 8] and groups 2, got [34, 4, 3, 3]",
    ),
    ({"input_scale": torch.ones(3)}, "input_scale must have 1 or 2 elements, got 3"),
    ({"weight_scale": torch.ones(1)}, "weight_scale must have 34 elements, got 1"),
    ({"weight_scale": torch.ones(34).double()}, "weight_scale must be float32, got float64"),
    (
        {"input_zero_point": torch.zeros(1, dtype=torch.int32)},
        "input_zero_point must be None for a float input without input_scale, got one",
    ),
    (
        {"input": integers((2, 6, 9, 8), torch.uint8)},
        "input_scale must be a tensor for an integer input, got None",
    ),
    ({"weight_scale": None}, "input must be uint8 or int8 without weight_scale, got float32"),
    (
        {"weight_scale": None, "input": integers((2, 6, 9, 8), torch.uint8)},
        "bias must be None without weight_scale, which asks for the sums, got one",
    ),
    ({"bias": torch.ones(2)}, "bias must have 34 elements, got 2"),
    ({"out_scale": -2.5}, "out_scale must be a positive normal float32, got -2.5"),
    ({"out_scale": 1e-40}, "out_scale must be a positive normal float32, got 1e-40"),
    ({"out_scale": 1e-50}, "out_scale must be a positive normal float32, got 1e-50"),
    ({"out_zero_point": 256}, "out_zero_point must be in [0, 255], got 256"),
    ({"stride": [0, 1]}, "stride must be two integers in [1, 2^31), got [0, 1]"),
    ({"padding": [-1, 1]}, "padding must be two integers in [0, 2^31), got [-1, 1]"),
    (
        {"dilation": [6, 1]},
        "input must be at least as large as the filter, 13 x 3, with its padding, got 11 x 8",
    ),
    ({"activation": "relu"}, "activation_param must be None for relu, got shape [34]"),
    ({"activation_param": None}, "activation_param must be a tensor for prelu, got None"),
    ({"activation_param": torch.ones(2)}, "activation_param must have 1 or 34 elements, got 2"),
    ({"skip": torch.ones(2, 34, 5, 5)}, "skip must have shape [2, 34, 5, 4], got [2, 34, 5, 5]"),
    ({"skip": torch.ones(2, 34, 5, 4).int()}, "skip must be float16, bfloat16 or float32, got int32"),
]
WRONG_PACKED = [
    ({"kernel_size": [3]}, "kernel_size must be two integers in [1, 2^31), got [3]"),
    ({"out_channels": -2}, "out_channels must be in [0, 2^31), got -2"),
    ({"packed": torch.zeros(2, 4, dtype=torch.int8)}, "packed must be 1-D and contiguous, got shape [2, 4]"),
    ({"packed": torch.zeros(4)}, "packed must be int8, got float32"),
    (
        {"kernel_size": [3, 5]},
        "packed must have 3328 elements for 6 -> 34 channels, kernel_size [3, 5] and groups 2, got 2048",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_rejects_in_the_same_words(changes, message):
    args = conv_args(**changes)
    for op, given in ((conv, args), (conv, on_meta(args)), (conv_plain, args)):
        assert message_of(op, given) == f"int8_conv2d: {message}"


@pytest.mark.parametrize(("changes", "message"), WRONG_PACKED)
def test_packed_rejects_in_the_same_words(changes, message):
    args = packed_args(**changes)
    for op, given in ((packed_conv, args), (packed_conv, on_meta(args)), (packed_plain, args)):
        assert message_of(op, given) == f"int8_conv2d_packed: {message}"


def test_rejects_zero_points_out_of_range():
    for dtype, value, text in (
        (torch.uint8, -1, "[0, 255], got -1"),
        (torch.int8, 128, "[-128, 127], got 128"),
    ):
        args = conv_args(dtype, input_zero_point=torch.tensor([0, value], dtype=torch.int32))
        for op in (conv, conv_plain):
            assert message_of(op, args) == f"int8_conv2d: input_zero_point must be in {text}"


def test_rejects_sums_that_int32_does_not_hold():
    x, weight = integers((1, 7282, 3, 3), torch.uint8), integers((1, 7282, 3, 3), torch.int8)
    with pytest.raises(RuntimeError, match="products in a sum must be at most 65536 for sums in int32"):
        gk.ops.int8_conv2d(x, weight)


@needs_kernels
def test_names_the_memory_it_could_not_get():
    x, weight = integers((1, 1, 1, 1), torch.uint8), integers((1, 1, 1, 1), torch.int8)
    with pytest.raises(RuntimeError, match="int8_conv2d: out of memory"):
        gk.ops.int8_conv2d(x, weight, padding=(1 << 31) - 1, stride=(1 << 31) - 1)


def test_gradients_and_unknown_options_are_refused():
    x, weight, scale = make((1, 4, 6, 6)).requires_grad_(), integers((8, 4, 3, 3), torch.int8), torch.ones(8)
    with pytest.raises(RuntimeError, match="int8_conv2d: rounding to integers has no gradient"):
        gk.ops.int8_conv2d(x, weight, None, scale)
    with pytest.raises(ValueError, match=r"activation must be one of None, relu, .*, got 'swish'"):
        gk.ops.int8_conv2d(x.detach(), weight, None, scale, activation="swish")
    with pytest.raises(RuntimeError, match="int8_conv2d_unpack: packed must have 1664 elements"):
        gk.ops.int8_conv2d_unpack(gk.ops.int8_conv2d_pack(weight), 8, 5, 3)


SCRIPT = """
import torch, greenkernels as gk
x = torch.randint(0, 256, (2, 5, 8, 9), dtype=torch.uint8)
w = torch.randint(-128, 128, (7, 5, 3, 3), dtype=torch.int8)
expected = torch.nn.functional.conv2d(x.double(), w.double(), padding=1).int()
assert torch.equal(gk.ops.int8_conv2d(x, w, padding=1), expected)
packed = gk.ops.int8_conv2d_pack(w)
assert torch.equal(gk.ops.int8_conv2d_packed(x, packed, out_channels=7, kernel_size=3, padding=1), expected)
module = gk.nn.Int8Conv2d.from_module(torch.nn.Conv2d(5, 7, 3))
with torch.no_grad():
    assert module(x.float()).shape == (2, 7, 6, 7)
assert module.fallbacks == {"GREENKERNELS_DISABLE=1": 1}
"""


def test_every_op_runs_on_plain_torch():
    path = os.pathsep.join([str(Path(gk.__file__).parent.parent), *(p for p in sys.path if p)])
    env = {**os.environ, "GREENKERNELS_DISABLE": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
