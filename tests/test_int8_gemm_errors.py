"""Wrong arguments of int8_gemm: one message from compiled kernel, fake tensor and plain torch."""

from typing import Any

import pytest
import torch
from conv_cases import needs_kernels
from int8_cases import integers
from op_errors import message_of, on_meta

import greenkernels as gk
from greenkernels.ops.int8_gemm_op import gemm, gemm_out, gemm_plain, pack, packed_gemm, packed_plain

NONE = {
    "a_zero_point": None,
    "bias": None,
    "activation": None,
    "activation_param": None,
    "out_scale": None,
    "out_zero_point": 0,
}


def gemm_args(**changes: Any) -> list[Any]:
    """The arguments of int8_gemm, right but for ``changes``."""
    args = {"a": integers((4, 8), torch.int8), "b": integers((6, 8), torch.int8)}
    scales = {"row_scale": torch.ones(4), "col_scale": torch.ones(6)}
    return list((args | scales | NONE | changes).values())


def packed_args(**changes: Any) -> list[Any]:
    args = {"a": integers((4, 8), torch.int8), "packed": pack(integers((6, 8), torch.int8)), "n": 6}
    scales = {"row_scale": torch.ones(4), "col_scale": torch.ones(6)}
    return list((args | scales | NONE | changes).values())


SUMS = {"row_scale": None, "col_scale": None}
WRONG = [
    (
        {"a": torch.tensor(1, dtype=torch.int8)},
        "a must have at least 1 dimension, got shape []",
    ),
    (
        {"a": torch.zeros(4, 8, dtype=torch.float64)},
        "a must be uint8, int8, float16, bfloat16 or float32, got float64",
    ),
    ({"b": integers((8,), torch.int8)}, "b must be 2-D, got shape [8]"),
    ({"b": integers((6, 8), torch.uint8)}, "b must be int8, got uint8"),
    ({"b": integers((6, 7), torch.int8)}, "b must be [n, k] with the k of a, [4, 8], got [6, 7]"),
    ({"row_scale": torch.ones(3)}, "row_scale must have 1 or 4 elements, got 3"),
    ({"row_scale": torch.ones(4, 1)}, "row_scale must be 1-D, got shape [4, 1]"),
    ({"row_scale": torch.ones(4).double()}, "row_scale must be float32, got float64"),
    ({"row_scale": None}, "row_scale must be a tensor for an integer a, got None"),
    ({"col_scale": torch.ones(1)}, "col_scale must have 6 elements, got 1"),
    (
        {"a_zero_point": torch.zeros(2, dtype=torch.int32)},
        "a_zero_point must have 1 or 4 elements, got 2",
    ),
    ({"a_zero_point": torch.zeros(4)}, "a_zero_point must be int32, got float32"),
    (
        {"a": torch.ones(4, 8), "row_scale": None, "a_zero_point": torch.zeros(1, dtype=torch.int32)},
        "a_zero_point must be None for a float a without row_scale, got one",
    ),
    ({"bias": torch.ones(5)}, "bias must have 6 elements, got 5"),
    (
        {"activation": "relu", "activation_param": torch.ones(1)},
        "activation_param must be None for relu, got shape [1]",
    ),
    ({"activation": "prelu"}, "activation_param must be a tensor for prelu, got None"),
    (
        {"activation": "prelu", "activation_param": torch.ones(5)},
        "activation_param must have 1 or 6 elements, got 5",
    ),
    (
        {"activation": "leaky_relu", "activation_param": torch.ones(6)},
        "activation_param must have 1 elements, got 6",
    ),
    ({"out_scale": 0.0}, "out_scale must be a positive normal float32, got 0"),
    ({"out_scale": -2.5}, "out_scale must be a positive normal float32, got -2.5"),
    ({"out_scale": 1e-40}, "out_scale must be a positive normal float32, got 1e-40"),
    ({"out_scale": 1e-50}, "out_scale must be a positive normal float32, got 1e-50"),
    ({"out_zero_point": 256}, "out_zero_point must be in [0, 255], got 256"),
    (SUMS | {"a": torch.ones(4, 8)}, "a must be uint8 or int8 without col_scale, got float32"),
    (
        {"col_scale": None},
        "row_scale must be None without col_scale, which asks for the sums, got one",
    ),
    (
        SUMS | {"bias": torch.ones(6)},
        "bias must be None without col_scale, which asks for the sums, got one",
    ),
    (
        SUMS | {"a": torch.zeros(1, 65537, dtype=torch.int8), "b": torch.zeros(1, 65537, dtype=torch.int8)},
        "k must be at most 65536 for sums in int32 (without col_scale), got 65537",
    ),
]
WRONG_PACKED = [
    ({"n": -1}, "n must be in [0, 2^31), got -1"),
    (
        {"packed": torch.zeros(2, 192, dtype=torch.int8)},
        "packed must be 1-D and contiguous, got shape [2, 192]",
    ),
    ({"packed": torch.zeros(384)}, "packed must be int8, got float32"),
    ({"n": 33}, "packed must have 768 elements for n = 33 and k = 8, got 384"),
    ({"bias": torch.ones(5)}, "bias must have 6 elements, got 5"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_rejects(changes, message):
    args = gemm_args(**changes)
    assert message_of(gemm, args) == f"int8_gemm: {message}"
    assert message_of(gemm, on_meta(args)) == f"int8_gemm: {message}"
    assert message_of(gemm_plain, args) == f"int8_gemm: {message}"
    assert message_of(gemm_out, args, out=torch.empty(4, 6)) == f"int8_gemm: {message}"


@pytest.mark.parametrize(("changes", "message"), WRONG_PACKED)
def test_packed_rejects(changes, message):
    args = packed_args(**changes)
    assert message_of(packed_gemm, args) == f"int8_gemm_packed: {message}"
    assert message_of(packed_gemm, on_meta(args)) == f"int8_gemm_packed: {message}"
    assert message_of(packed_plain, args) == f"int8_gemm_packed: {message}"


@pytest.mark.parametrize(
    ("a", "value", "message"),
    [
        (torch.uint8, -1, "a_zero_point must be in [0, 255], got -1"),
        (torch.int8, 128, "a_zero_point must be in [-128, 127], got 128"),
    ],
)
def test_rejects_zero_points_out_of_range(a, value, message):
    args = gemm_args(a=integers((4, 8), a), a_zero_point=torch.tensor([0, 0, value, 0], dtype=torch.int32))
    assert message_of(gemm, args) == message_of(gemm_plain, args) == f"int8_gemm: {message}"


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (torch.zeros(4, dtype=torch.int8), "b must be 2-D, got shape [4]"),
        (torch.zeros(4, 4), "b must be int8, got float32"),
        (torch.empty(0, 1 << 24, dtype=torch.int8), "k must be at most 16777215, got 16777216"),
    ],
)
def test_pack_rejects(b, message):
    assert message_of(pack, [b]) == f"int8_gemm_pack: {message}"
    assert message_of(pack, [b.to("meta")]) == f"int8_gemm_pack: {message}"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(4, 5), "out must have shape [4, 6], got [4, 5]"),
        (torch.empty(4, 6, dtype=torch.int32), "out must be float32, got int32"),
    ],
)
def test_out_rejects(out, message):
    assert message_of(gemm_out, gemm_args(), out=out) == f"int8_gemm: {message}"
    assert message_of(gemm_out, on_meta(gemm_args()), out=out.to("meta")) == f"int8_gemm: {message}"


@needs_kernels
def test_names_the_bytes_it_could_not_get():
    a, b = torch.empty(1 << 26, 0, dtype=torch.int8), torch.empty(1 << 24, 0, dtype=torch.int8)
    text = message_of(
        gemm, gemm_args(a=a, b=b, row_scale=torch.ones(1), col_scale=torch.ones(1).expand(1 << 24))
    )
    assert text == f"int8_gemm: out of memory: could not allocate {1 << 52} bytes for the output"


def test_gradients_are_refused():
    x = torch.randn(3, 8, requires_grad=True)
    b = integers((6, 8), torch.int8)
    message = "rounding to integers has no gradient, but an argument requires grad"
    assert message_of(gk.ops.int8_gemm, [x, b, None, torch.ones(6)]) == f"int8_gemm: {message}"
    packed = gk.ops.int8_gemm_pack(b)
    assert message_of(gk.ops.int8_gemm_packed, [x, packed, None, torch.ones(6)], n=6).endswith(message)
    with torch.no_grad():
        assert not gk.ops.int8_gemm(x, b, None, torch.ones(6)).requires_grad


def test_functions_reject_options():
    a, b = integers((4, 8), torch.int8), integers((6, 8), torch.int8)
    with pytest.raises(ValueError, match=r"activation must be one of None, relu, .*, got 'swish'"):
        gk.ops.int8_gemm(a, b, torch.ones(1), torch.ones(6), activation="swish")
    with pytest.raises(TypeError, match="activation_param must be a Tensor, float or None, got str"):
        gk.ops.int8_gemm(a, b, torch.ones(1), torch.ones(6), activation="leaky_relu", activation_param="0")
    with pytest.raises(
        RuntimeError, match="int8_gemm_unpack: packed must have 768 elements for n = 33 and k = 8"
    ):
        gk.ops.int8_gemm_unpack(gk.ops.int8_gemm_pack(b), 33, 8)
