"""Wrong arguments of int4_gemm: one message from compiled kernel, fake tensor and plain torch."""

from typing import Any

import pytest
import torch
from op_errors import message_of, on_meta

from greenkernels.ops.int4_gemm_op import gemm, gemm_plain, pack, packed_gemm, packed_plain

REST = {"bias": None, "activation": None, "activation_param": None}


def values(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int8)


def gemm_args(**changes: Any) -> list[Any]:
    """The arguments of int4_gemm, right but for ``changes``."""
    args = {"a": torch.ones(4, 40), "b": values(6, 40), "scale": torch.ones(6, 2), "group": 32}
    return list((args | REST | changes).values())


def packed_args(**changes: Any) -> list[Any]:
    args = {"a": torch.ones(4, 40), "packed": pack(values(6, 40), torch.ones(6, 2), 32), "n": 6, "group": 32}
    return list((args | REST | changes).values())


WRONG = [
    ({"a": torch.tensor(1.0)}, "a must have at least 1 dimension, got shape []"),
    ({"a": values(4, 40)}, "a must be float16, bfloat16 or float32, got int8"),
    ({"b": values(40)}, "b must be 2-D, got shape [40]"),
    ({"b": torch.zeros(6, 40)}, "b must be int8, got float32"),
    ({"group": 48}, "group must be 32, 64 or 128, got 48"),
    ({"scale": torch.ones(6)}, "scale must have shape [6, 2], got [6]"),
    ({"group": 64}, "scale must have shape [6, 1], got [6, 2]"),
    ({"scale": torch.ones(6, 2).half()}, "scale must be float32, got float16"),
    (
        {"b": values(6, 39)},
        "b must be [n, k] with the k of a, [4, 40], got [6, 39]",
    ),
    ({"bias": torch.ones(5)}, "bias must have 6 elements, got 5"),
    ({"activation": "prelu"}, "activation_param must be a tensor for prelu, got None"),
    (
        {"activation": "relu", "activation_param": torch.ones(1)},
        "activation_param must be None for relu, got shape [1]",
    ),
]
WRONG_PACKED = [
    ({"n": -1}, "n must be in [0, 2^31), got -1"),
    ({"group": 16}, "group must be 32, 64 or 128, got 16"),
    (
        {"packed": torch.zeros(2, 640, dtype=torch.uint8)},
        "packed must be 1-D and contiguous, got shape [2, 640]",
    ),
    ({"packed": torch.zeros(1280)}, "packed must be uint8, got float32"),
    ({"n": 33}, "packed must have 2560 elements for n = 33, k = 40 and group = 32, got 1280"),
    ({"bias": torch.ones(5)}, "bias must have 6 elements, got 5"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_rejects(changes, message):
    args = gemm_args(**changes)
    assert message_of(gemm, args) == f"int4_gemm: {message}"
    assert message_of(gemm, on_meta(args)) == f"int4_gemm: {message}"
    assert message_of(gemm_plain, args) == f"int4_gemm: {message}"


@pytest.mark.parametrize(("changes", "message"), WRONG_PACKED)
def test_packed_rejects(changes, message):
    args = packed_args(**changes)
    assert message_of(packed_gemm, args) == f"int4_gemm_packed: {message}"
    assert message_of(packed_gemm, on_meta(args)) == f"int4_gemm_packed: {message}"
    assert message_of(packed_plain, args) == f"int4_gemm_packed: {message}"


@pytest.mark.parametrize("value", [-9, 8])
def test_rejects_values_of_more_than_4_bits(value):
    b = values(6, 40)
    b[3, 39] = value
    message = f"b must be in [-8, 7], got {value}"
    assert message_of(gemm, gemm_args(b=b)) == f"int4_gemm: {message}"
    assert message_of(gemm_plain, gemm_args(b=b)) == f"int4_gemm: {message}"
    assert message_of(pack, [b, torch.ones(6, 2), 32]) == f"int4_gemm_pack: {message}"


def test_refuses_gradients():
    a = torch.ones(4, 40, requires_grad=True)
    message = "rounding to integers has no gradient, but an argument requires grad"
    assert message_of(gemm, gemm_args(a=a)) == f"int4_gemm: {message}"
