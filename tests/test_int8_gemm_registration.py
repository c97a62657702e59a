"""int8_gemm as an op of torch: opcheck, compile, autocast, out=, the way without compiled kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conv_cases import COMPILE_BACKEND
from int8_cases import integers

import greenkernels as gk
from greenkernels.ops.int8_gemm_op import (
    gemm,
    gemm_out,
    gemm_plain,
    pack,
    packed_gemm,
    packed_gemm_out,
    unpack,
)

NOTHING = (None, None, None, None, None, None, None, 0)


def sample(dtype=torch.float32):
    a = torch.randn(5, 9, 20).to(dtype) if dtype.is_floating_point else integers((5, 9, 20), dtype)
    row_scale = None if dtype.is_floating_point else torch.rand(45)
    zero = None if dtype.is_floating_point else torch.full((45,), 3, dtype=torch.int32)
    options = (row_scale, torch.rand(34), zero, torch.randn(34), "prelu", torch.rand(34))
    return a, integers((34, 20), torch.int8), options


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.int8])
@pytest.mark.parametrize("out_scale", [None, 0.5])
def test_opcheck(dtype, out_scale):
    a, b, options = sample(dtype)
    torch.library.opcheck(gemm, (a, b, *options, out_scale, 4))
    torch.library.opcheck(packed_gemm, (a, pack(b), 34, *options, out_scale, 4))


def test_opcheck_of_the_other_variants():
    a, b, options = sample(torch.uint8)
    packed = pack(b)
    torch.library.opcheck(gemm, (a, b, *NOTHING))
    torch.library.opcheck(pack, (b,))
    torch.library.opcheck(unpack, (packed, 34, 20))
    torch.library.opcheck(gemm_out, (a, b, *options, None, 0), {"out": torch.empty(5, 9, 34)})
    torch.library.opcheck(packed_gemm_out, (a, packed, 34, *options, None, 0), {"out": torch.empty(5, 9, 34)})


def test_plain_torch_gives_the_same():
    for dtype in (torch.float32, torch.bfloat16, torch.uint8, torch.int8):
        a, b, options = sample(dtype)
        torch.testing.assert_close(gemm(a, b, *options, None, 0), gemm_plain(a, b, *options, None, 0))
        # A value at the middle between two steps may be rounded to either.
        near = gemm(a, b, *options, 0.5, 4).int() - gemm_plain(a, b, *options, 0.5, 4).int()
        assert near.abs().max() <= 1
    assert torch.equal(gemm(a, b, *NOTHING), gemm_plain(a, b, *NOTHING))


def test_compiles_without_graph_breaks_and_with_dynamic_sizes():
    def function(x, b, col):
        hidden = gk.ops.int8_gemm(x, b, None, col, activation="relu")
        return gk.ops.int8_gemm(hidden, b.t(), None, col[:20])

    compiled = torch.compile(function, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)
    for m in (3, 7):
        args = torch.randn(m, 20), integers((34, 20), torch.int8), torch.rand(34) + 0.1
        torch.testing.assert_close(compiled(*args), function(*args))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_as_linear_does(dtype):
    x, b, col = torch.randn(6, 20), integers((34, 20), torch.int8), torch.full((34,), 0.01)
    with torch.autocast("cpu", dtype=dtype):
        out = gk.ops.int8_gemm(x, b, None, col)
    assert out.dtype == dtype
    assert torch.equal(out, gk.ops.int8_gemm(x.to(dtype), b, None, col))
    a = integers((6, 20), torch.int8)
    with torch.autocast("cpu", dtype=dtype):
        assert gk.ops.int8_gemm(a, b, torch.ones(1), col).dtype == torch.float32


def test_out():
    a, b, options = sample()
    expected = gemm(a, b, *options, None, 0)
    out = torch.empty(5, 9, 34)
    packed = pack(b)
    row_scale, col_scale, _, bias, activation, param = options
    result = gk.ops.int8_gemm_packed(
        a,
        packed,
        row_scale,
        col_scale,
        n=34,
        bias=bias,
        activation=activation,
        activation_param=param,
        out=out,
    )
    assert result is out
    assert torch.equal(out, expected)
    strided = torch.zeros(5, 34, 9).transpose(1, 2)
    gemm_out(a, b, *options, None, 0, out=strided)
    assert torch.equal(strided, expected)
    square = torch.randn(20, 20)
    expected = gk.ops.int8_gemm(square, b[:20], None, torch.ones(20))
    gk.ops.int8_gemm(square, b[:20], None, torch.ones(20), out=square)  # reads what it writes to
    assert torch.equal(square, expected)
    half = torch.empty(5, 9, 34, dtype=torch.bfloat16)
    gemm_out(a.bfloat16(), b, *options, None, 0, out=half)
    assert torch.equal(half, gemm(a.bfloat16(), b, *options, None, 0))


SCRIPT = """
import torch, greenkernels as gk
a, b = torch.randint(-128, 128, (5, 30), dtype=torch.int8), torch.randint(-128, 128, (7, 30), dtype=torch.int8)
expected = (a.double() @ b.double().T).int()
assert torch.equal(gk.ops.int8_gemm(a, b), expected)
assert torch.equal(gk.ops.int8_gemm_packed(a, gk.ops.int8_gemm_pack(b), n=7), expected)
x = torch.randn(5, 30)
out = gk.ops.int8_gemm(x, b, None, torch.ones(7), activation="relu")
assert (out - (x.double() @ b.double().T).relu()).abs().max() < 128 * 30 * 8 / 255 / 2
"""


def test_every_op_runs_on_plain_torch():
    path = os.pathsep.join([str(Path(gk.__file__).parent.parent), *(p for p in sys.path if p)])
    env = {**os.environ, "GREENKERNELS_DISABLE": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
