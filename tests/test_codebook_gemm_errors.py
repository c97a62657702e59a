"""Wrong arguments of codebook_gemm: one message from compiled kernel, fake tensor and plain torch."""

from typing import Any

import pytest
import torch
from op_errors import message_of, on_meta

from greenkernels.ops.codebook_gemm_op import gemm, gemm_plain, pack, packed_gemm, packed_plain

REST = {"bias": None, "activation": None, "activation_param": None}
TABLE = torch.arange(-8, 8, dtype=torch.int8)


def places(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.uint8)


def gemm_args(**changes: Any) -> list[Any]:
    """The arguments of codebook_gemm, right but for ``changes``."""
    args = {
        "a": torch.ones(4, 40),
        "b": places(6, 40),
        "table": TABLE,
        "scale": torch.ones(6, 2),
        "group": 32,
    }
    return list((args | REST | changes).values())


def packed_args(**changes: Any) -> list[Any]:
    packed = pack(places(6, 40), TABLE, torch.ones(6, 2), 32)
    args = {"a": torch.ones(4, 40), "packed": packed, "n": 6, "group": 32, "bits": 4}
    return list((args | REST | changes).values())


WRONG = [
    ({"a": torch.tensor(1.0)}, "a must have at least 1 dimension, got shape []"),
    ({"a": places(4, 40)}, "a must be float16, bfloat16 or float32, got uint8"),
    ({"b": places(40)}, "b must be 2-D, got shape [40]"),
    ({"b": torch.zeros(6, 40)}, "b must be uint8, got float32"),
    ({"group": 48}, "group must be a power of two from 32 to 1024, got 48"),
    ({"table": TABLE[:8]}, "table must have shape [4] or [16], got [8]"),
    ({"table": TABLE.float()}, "table must be int8, got float32"),
    ({"scale": torch.ones(6)}, "scale must have shape [6, 2], got [6]"),
    ({"scale": torch.ones(6, 2).half()}, "scale must be float32, got float16"),
    ({"b": places(6, 39)}, "b must be [n, k] with the k of a, [4, 40], got [6, 39]"),
    ({"bias": torch.ones(5)}, "bias must have 6 elements, got 5"),
    ({"activation": "prelu"}, "activation_param must be a tensor for prelu, got None"),
]
WRONG_PACKED = [
    ({"n": -1}, "n must be in [0, 2^31), got -1"),
    ({"group": 16}, "group must be a power of two from 32 to 1024, got 16"),
    ({"bits": 3}, "bits must be 2 or 4, got 3"),
    ({"packed": places(2, 672)}, "packed must be 1-D and contiguous, got shape [2, 672]"),
    ({"packed": torch.zeros(1344)}, "packed must be uint8, got float32"),
    ({"n": 33}, "packed must have 2624 elements for n = 33, k = 40, group = 32 and bits = 4, got 1344"),
    ({"bias": torch.ones(5)}, "bias must have 6 elements, got 5"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_rejects(changes, message):
    args = gemm_args(**changes)
    assert message_of(gemm, args) == f"codebook_gemm: {message}"
    assert message_of(gemm, on_meta(args)) == f"codebook_gemm: {message}"
    assert message_of(gemm_plain, args) == f"codebook_gemm: {message}"


@pytest.mark.parametrize(("changes", "message"), WRONG_PACKED)
def test_packed_rejects(changes, message):
    args = packed_args(**changes)
    assert message_of(packed_gemm, args) == f"codebook_gemm_packed: {message}"
    assert message_of(packed_gemm, on_meta(args)) == f"codebook_gemm_packed: {message}"
    assert message_of(packed_plain, args) == f"codebook_gemm_packed: {message}"


def test_rejects_what_does_not_fit_in_the_bits():
    high, far = TABLE.clone(), places(6, 40)
    high[3], far[5, 39] = 64, 16
    for changes, message in (
        ({"table": high}, "table must be in [-64, 63], got 64"),
        ({"b": far}, "b must be in [0, 15], got 16"),
        ({"b": far, "table": TABLE[:4]}, "b must be in [0, 3], got 16"),
    ):
        assert message_of(gemm, gemm_args(**changes)) == f"codebook_gemm: {message}"
        assert message_of(gemm_plain, gemm_args(**changes)) == f"codebook_gemm: {message}"


def test_refuses_gradients():
    a = torch.ones(4, 40, requires_grad=True)
    message = "rounding to integers has no gradient, but an argument requires grad"
    assert message_of(gemm, gemm_args(a=a)) == f"codebook_gemm: {message}"
