"""sgemm as an op of torch: errors, opcheck, compile, autocast, the way without compiled kernels."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, make, needs_kernels

import greenkernels as gk
from greenkernels.ops.sgemm_op import (
    batched,
    batched_plain,
    gemm,
    gemm_out,
    gemm_plain,
    pack,
    packed_gemm,
    packed_plain,
)


def gemm_args(**changes: Any) -> list[Any]:
    """The arguments of sgemm, right but for ``changes``."""
    args = {"a": make((4, 8)), "b": make((6, 8)), "bias": make((6,)), "activation": None, "param": None}
    return list((args | changes).values())


def packed_args(**changes: Any) -> list[Any]:
    args = {"a": make((4, 8)), "packed": torch.zeros(8 * 16), "bias": None, "n": 6}
    return list((args | {"activation": None, "param": None} | changes).values())


WRONG = [
    ({"a": make((8,))}, "a must be 2-D, got shape [8]"),
    (
        {"a": torch.zeros(4, 8, dtype=torch.int64)},
        "a must be float16, bfloat16, float32 or float64, got int64",
    ),
    ({"b": make((6,))}, "b must be 2-D, got shape [6]"),
    ({"b": make((6, 8), dtype=torch.float64)}, "b must be float32 as a is, got float64"),
    ({"b": make((8, 6))}, "b must be [..., n, 8] for a [4, 8], got [8, 6]"),
    ({"bias": make((5,))}, "bias must have 6 elements, got 5"),
    ({"bias": make((1, 6))}, "bias must be 1-D, got shape [1, 6]"),
    ({"param": make((1,))}, "activation_param must be None for None, got shape [1]"),
    ({"activation": "prelu"}, "activation_param must be a tensor for prelu, got None"),
    (
        {"activation": "prelu", "param": make((5,))},
        "activation_param must have 1 or 6 elements for prelu, got 5",
    ),
    (
        {"activation": "leaky_relu", "param": make((6,))},
        "activation_param must have 1 element for leaky_relu, got 6",
    ),
]
WRONG_PACKED = [
    ({"packed": torch.zeros(8, 16)}, "packed must be 1-D and contiguous, got shape [8, 16]"),
    ({"packed": torch.zeros(128, dtype=torch.float64)}, "packed must be float32 for float32 a, got float64"),
    ({"packed": torch.zeros(100)}, "packed must have 128 elements for n = 6 and k = 8, got 100"),
    ({"n": -1}, "n must be in [0, 2^31), got -1"),
]


def messages(call, plain, args: list[Any]) -> list[str]:
    """What the compiled kernel, a fake tensor and plain torch say."""
    found = []
    meta = [x.to("meta") if isinstance(x, torch.Tensor) else x for x in args]
    for function, arguments in ((call, args), (plain, args), (call, meta)):
        with pytest.raises(RuntimeError) as error:
            function(*arguments)
        found.append(str(error.value).splitlines()[0])
    return found


@needs_kernels
@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_arguments_have_one_message(changes, message):
    assert messages(gemm, gemm_plain, gemm_args(**changes)) == [f"sgemm: {message}"] * 3


@needs_kernels
@pytest.mark.parametrize(("changes", "message"), WRONG_PACKED)
def test_wrong_packed_arguments_have_one_message(changes, message):
    assert messages(packed_gemm, packed_plain, packed_args(**changes)) == [f"sgemm_packed: {message}"] * 3


@needs_kernels
def test_wrong_batches_have_one_message():
    for a, b, message in [
        (make((2, 3)), make((2, 3, 4)), "a must be 3-D, got shape [2, 3]"),
        (make((2, 3, 4)), make((3, 3, 4)), "b must have 2 items as a has, got 3"),
    ]:
        assert messages(batched, batched_plain, [a, b]) == [f"sgemm_batched: {message}"] * 3


def test_out_must_fit():
    with pytest.raises(RuntimeError, match=r"sgemm: out must have shape \[4, 6\], got \[6, 4\]"):
        gk.ops.sgemm(make((4, 8)), make((6, 8)), out=make((6, 4)))
    with pytest.raises(RuntimeError, match="sgemm: out must not overlap itself, got stride 0 in dimension 0"):
        gk.ops.sgemm(make((4, 8)), make((6, 8)), out=make((1, 6)).expand(4, 6))
    with pytest.raises(ValueError, match="beta must be 0 without out, got 1"):
        gk.ops.sgemm(make((4, 8)), make((6, 8)), beta=1)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        gk.ops.sgemm(make((4, 8)).requires_grad_(), make((6, 8)), out=make((4, 6)))
    with pytest.raises(ValueError, match=r"activation must be one of None, relu, .*, got 'rely'"):
        gk.ops.sgemm(make((4, 8)), make((6, 8)), activation="rely")


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("activation", [None, "relu", "prelu", "gelu"])
def test_opcheck(activation, requires_grad):
    a, b, bias = make((5, 7), 1), make((6, 7), 2), make((6,), 3)
    param = make((6,), 4) if activation == "prelu" else None
    for x in (a, b, bias, param):
        if x is not None:
            x.requires_grad_(requires_grad)
    torch.library.opcheck(gemm, (a, b, bias, activation, param))
    torch.library.opcheck(packed_gemm, (a, pack(b.detach()), bias, 6, activation, param))


def test_opcheck_of_the_other_variants():
    a, b = make((5, 7), 1), make((6, 7), 2)
    torch.library.opcheck(pack, (b,))
    torch.library.opcheck(gemm_out, (a, b, None, "relu", None, 0.5), {"out": torch.zeros(5, 6)})
    torch.library.opcheck(batched, (make((2, 3, 4), 1).requires_grad_(), make((2, 5, 4), 2).requires_grad_()))


def test_compiles_without_graph_breaks_and_with_dynamic_sizes():
    def function(a, b, bias):
        return gk.ops.matmul(gk.ops.sgemm(a, b, bias, activation="relu"), b)

    compiled = torch.compile(function, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)
    for m in (5, 9):
        args = make((2, m, 12), 1), make((11, 12), 2), make((11,), 3)
        torch.testing.assert_close(compiled(*args), function(*args))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_as_linear_does(dtype):
    a, b, bias = make((5, 12), 1), make((6, 12), 2), make((6,), 3)
    expected = F.linear(a, b, bias)
    with torch.autocast("cpu", dtype=dtype):
        outs = (
            gk.ops.sgemm(a, b, bias),
            gk.ops.sgemm_packed(a, pack(b), bias, n=6),
            gk.ops.matmul(a, b.t()) + bias,
        )
        assert [out.dtype for out in outs[:2]] == [F.linear(a, b, bias).dtype] * 2
    # Operands and result are rounded to the dtype: three roundings of at most eps / 2 of sums below 12 + 1.
    for out in outs:
        torch.testing.assert_close(out.float(), expected, rtol=0, atol=13 * 1.5 * torch.finfo(dtype).eps)


SCRIPT = """
import torch, greenkernels as gk
a, b, c = torch.randn(5, 7), torch.randn(6, 7), torch.randn(6)
expected = torch.nn.functional.linear(a, b, c)
torch.testing.assert_close(gk.ops.sgemm(a, b, c), expected)
torch.testing.assert_close(gk.ops.sgemm_packed(a, gk.ops.sgemm_pack(b), c, n=6), expected)
torch.testing.assert_close(gk.ops.sgemm(a, b, beta=2.0, out=torch.ones(5, 6)), a @ b.T + 2)
torch.testing.assert_close(gk.ops.matmul(torch.stack([a, a]), b.t()), torch.stack([a, a]) @ b.t())
torch.testing.assert_close(gk.ops.matmul(a[None], b.t()[None]), (a @ b.t())[None])
"""


def test_every_op_runs_on_plain_torch():
    path = os.pathsep.join([str(Path(gk.__file__).parent.parent), *(p for p in sys.path if p)])
    env = {**os.environ, "GREENKERNELS_DISABLE": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
