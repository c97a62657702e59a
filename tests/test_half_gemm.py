"""half_gemm: values against float64 on every instruction set, the packed form, wrong arguments, the op of torch."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conv_cases import COMPILE_BACKEND
from op_errors import message_of, on_meta
from torch import Tensor

import greenkernels as gk
from greenkernels.ops import half_packing
from greenkernels.ops.half_gemm_op import gemm, gemm_plain, pack, packed_gemm, packed_plain, unpack

# (m, n, k): smallest, ragged, around blocks of rows, panel and slices, many rows, nothing at all
SHAPES = [
    *[(1, 1, 1), (1, 32, 64), (3, 5, 0), (0, 4, 8), (4, 0, 8), (2, 33, 70), (7, 31, 129), (8, 65, 127)],
    *[(13, 97, 61), (17, 48, 257), (40, 640, 1025), (100, 15, 33)],
]
FORMATS = tuple(half_packing.FORMATS.values())
EPS = torch.finfo(torch.float32).eps  # a rounding changes a value by at most EPS / 2 of its size
REST = {"bias": None, "activation": None, "activation_param": None}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    m, n, k = shape
    x, b, bias = torch.randn(m, k), torch.randn(n, k).to(dtype), torch.randn(n)
    product = x.double() @ b.double().T
    size = x.double().abs() @ b.double().abs().T
    for shift in (None, bias):
        out, plus = gk.ops.half_gemm(x, b, bias=shift), 0 if shift is None else shift.double()
        # A rounding for each product, four where parts of the sum meet, the bias.
        bound = (k + 5) * EPS / 2 * (size + (0 if shift is None else plus.abs()))
        assert out.shape == (m, n)
        assert ((out - (product + plus)).abs() <= bound).all()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("m", [1, 40])
def test_every_number_of_16_bits_is_widened_exactly(dtype: torch.dtype, m: int) -> None:
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    b = bits.view(dtype).reshape(-1, 1)
    out, expected = gk.ops.half_gemm(torch.ones(m, 1), b), b.float().T.expand(m, -1)
    tiny = torch.finfo(torch.float32).tiny
    expected = torch.where(expected.abs() < tiny, torch.zeros(()), expected)  # denormal float32 count as 0
    out = torch.where(out.abs() < tiny, torch.zeros(()), out)
    assert torch.equal(out.isnan(), expected.isnan())
    assert torch.equal(out.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("m", [9, 50])
@pytest.mark.parametrize("name", ["relu", "gelu", "leaky_relu", "prelu"])
def test_activations(name: str, m: int) -> None:
    x, b = torch.randn(m, 70), torch.randn(37, 70).bfloat16()
    before = gk.ops.half_gemm(x, b)
    slope = {"leaky_relu": 0.2, "prelu": torch.rand(37)}.get(name)
    out = gk.ops.half_gemm(x, b, activation=name, activation_param=slope)
    if slope is None:
        expected = getattr(torch.nn.functional, name)(before)
    else:
        expected = torch.where(before > 0, before, before * slope)
    # erf is good to 2e-7 (csrc/cpu/activation.inl), and so is torch's; it is multiplied by the value.
    assert ((out - expected).abs() <= (4e-7 + 4 * EPS) * before.abs().clamp_min(1)).all()


@pytest.mark.parametrize("dtype", FORMATS)
def test_rows_in_half_precision_are_computed_in_float32(dtype: torch.dtype) -> None:
    x, b = torch.randn(9, 70).to(dtype), torch.randn(20, 70).bfloat16()
    out = gk.ops.half_gemm(x, b)
    assert out.dtype == dtype
    assert torch.equal(out, gk.ops.half_gemm(x.float(), b).to(dtype))


@pytest.mark.parametrize("dtype", FORMATS)
def test_packing_is_one_layout_and_comes_back(dtype: torch.dtype) -> None:
    for _, n, k in SHAPES:
        b = torch.randn(n, k).to(dtype)
        packed = gk.ops.half_gemm_pack(b)
        assert torch.equal(packed, half_packing.pack(b))
        assert torch.equal(gk.ops.half_gemm_unpack(packed, n, k), b)
    with pytest.raises(
        RuntimeError, match="half_gemm_unpack: packed must have 64 elements for n = 33 and k = 1"
    ):
        gk.ops.half_gemm_unpack(torch.zeros(32).half(), 33, 1)


def test_packed_gives_the_same_and_reads_any_layout() -> None:
    for m, n, k in SHAPES:
        x, b = torch.randn(m, k), torch.randn(n, k).half()
        packed, plain = gk.ops.half_gemm_pack(b), gk.ops.half_gemm(x, b)
        assert torch.equal(gk.ops.half_gemm_packed(x, packed, n=n), plain)
        moved = torch.cat((packed.new_zeros(1), packed))[1:]  # not aligned
        assert torch.equal(gk.ops.half_gemm_packed(x, moved, n=n), plain)
    x, b = torch.randn(3, 60, 5).transpose(1, 2), torch.randn(24, 60).half()
    wide = gk.ops.half_gemm(x, b.t().contiguous().t())
    assert torch.equal(wide, gk.ops.half_gemm(x.reshape(15, 60), b).reshape(3, 5, 24))
    assert gk.ops.half_gemm(x[0, 0], b).shape == (24,)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing_but_rounding(threads: int) -> None:
    before, b = torch.get_num_threads(), torch.randn(1500, 320).bfloat16()
    inputs = [torch.randn(m, 320) for m in (1, 16, 64)]
    expected = [x.double() @ b.double().T for x in inputs]
    try:
        torch.set_num_threads(threads)
        for x, product in zip(inputs, expected, strict=True):
            bound = 325 * EPS / 2 * (x.double().abs() @ b.double().abs().T)
            assert ((gk.ops.half_gemm(x, b) - product).abs() <= bound).all()
    finally:
        torch.set_num_threads(before)


def gemm_args(**changes: Any) -> list[Any]:
    """The arguments of half_gemm, right but for ``changes``."""
    return list(({"a": torch.ones(4, 40), "b": torch.ones(6, 40).half()} | REST | changes).values())


def packed_args(**changes: Any) -> list[Any]:
    args = {"a": torch.ones(4, 40), "packed": pack(torch.ones(6, 40).half()), "n": 6}
    return list((args | REST | changes).values())


WRONG = [
    ({"a": torch.tensor(1.0)}, "a must have at least 1 dimension, got shape []"),
    ({"a": torch.ones(4, 40).double()}, "a must be float16, bfloat16 or float32, got float64"),
    ({"b": torch.ones(40).half()}, "b must be 2-D, got shape [40]"),
    ({"b": torch.ones(6, 40)}, "b must be float16 or bfloat16, got float32"),
    ({"b": torch.ones(6, 39).half()}, "b must be [n, k] with the k of a, [4, 40], got [6, 39]"),
    ({"bias": torch.ones(5)}, "bias must have 6 elements, got 5"),
    ({"activation": "prelu"}, "activation_param must be a tensor for prelu, got None"),
]
WRONG_PACKED = [
    ({"n": -1}, "n must be in [0, 2^31), got -1"),
    ({"packed": torch.ones(2, 640).half()}, "packed must be 1-D and contiguous, got shape [2, 640]"),
    ({"packed": torch.ones(1280)}, "packed must be float16 or bfloat16, got float32"),
    ({"n": 33}, "packed must have 2560 elements for n = 33 and k = 40, got 1280"),
    ({"bias": torch.ones(5)}, "bias must have 6 elements, got 5"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_rejects(changes: dict[str, Any], message: str) -> None:
    args = gemm_args(**changes)
    for op, given in ((gemm, args), (gemm, on_meta(args)), (gemm_plain, args)):
        assert message_of(op, given) == f"half_gemm: {message}"


@pytest.mark.parametrize(("changes", "message"), WRONG_PACKED)
def test_packed_rejects(changes: dict[str, Any], message: str) -> None:
    args = packed_args(**changes)
    for op, given in ((packed_gemm, args), (packed_gemm, on_meta(args)), (packed_plain, args)):
        assert message_of(op, given) == f"half_gemm_packed: {message}"


def test_pack_rejects_and_gradients_are_refused() -> None:
    message = "b must be float16 or bfloat16, got float32"
    assert message_of(pack, [torch.ones(2, 2)]) == f"half_gemm_pack: {message}"
    a = torch.ones(4, 40, requires_grad=True)
    message = "it is for inference and has no gradient, but an argument requires grad"
    assert message_of(gemm, gemm_args(a=a)) == f"half_gemm: {message}"


def sample(dtype: torch.dtype) -> tuple[Tensor, Tensor, tuple[Tensor, str, Tensor]]:
    return (
        torch.randn(5, 9, 40).to(dtype),
        torch.randn(34, 40).half(),
        (torch.randn(34), "prelu", torch.rand(34)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_registration(dtype: torch.dtype) -> None:
    a, b, rest = sample(dtype)
    packed = pack(b)
    torch.library.opcheck(gemm, (a, b, *rest))
    torch.library.opcheck(packed_gemm, (a, packed, 34, *rest))
    torch.library.opcheck(pack, (b,))
    torch.library.opcheck(unpack, (packed, 34, 40))
    torch.testing.assert_close(gemm(a, b, *rest), gemm_plain(a, b, *rest))
    torch.testing.assert_close(packed_gemm(a, packed, 34, *rest), packed_plain(a, packed, 34, *rest))


def test_compiles_with_dynamic_sizes_and_casts_as_linear_does() -> None:
    x, b, _ = sample(torch.float32)

    def function(x: Tensor) -> Tensor:
        return gk.ops.half_gemm(x, b, activation="relu")

    compiled = torch.compile(function, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)
    for m in (3, 7):
        rows = torch.randn(m, 40)
        torch.testing.assert_close(compiled(rows), function(rows))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gk.ops.half_gemm(x, b), gk.ops.half_gemm(x.bfloat16(), b))


SCRIPT = """
import torch, greenkernels as gk
x, b = torch.randn(5, 70), torch.randn(7, 70).bfloat16()
expected, packed = torch.nn.functional.linear(x, b.float()), gk.ops.half_gemm_pack(b)
for out in (gk.ops.half_gemm(x, b), gk.ops.half_gemm_packed(x, packed, n=7)):
    assert torch.equal(out, expected)
assert torch.equal(gk.ops.half_gemm_unpack(packed, 7, 70), b)
"""


def test_every_op_runs_on_plain_torch() -> None:
    path = os.pathsep.join([str(Path(gk.__file__).parent.parent), *(p for p in sys.path if p)])
    env = {**os.environ, "GREENKERNELS_DISABLE": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
