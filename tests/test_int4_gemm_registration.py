"""int4_gemm as an op of torch: opcheck, compile, autocast, the way without compiled kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conv_cases import COMPILE_BACKEND

import greenkernels as gk
from greenkernels.ops.int4_gemm_op import gemm, gemm_plain, pack, packed_gemm, packed_plain, unpack


def sample(dtype=torch.float32):
    b, scale = torch.randint(-8, 8, (34, 40)).to(torch.int8), torch.rand(34, 2) / 10
    return torch.randn(5, 9, 40).to(dtype), b, scale, (torch.randn(34), "prelu", torch.rand(34))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(dtype):
    a, b, scale, rest = sample(dtype)
    packed = pack(b, scale, 32)
    torch.library.opcheck(gemm, (a, b, scale, 32, *rest))
    torch.library.opcheck(packed_gemm, (a, packed, 34, 32, *rest))
    torch.library.opcheck(pack, (b, scale, 32))
    torch.library.opcheck(unpack, (packed, 34, 40, 32))


def test_plain_torch_gives_the_same():
    for dtype in (torch.float32, torch.bfloat16):
        a, b, scale, rest = sample(dtype)
        torch.testing.assert_close(gemm(a, b, scale, 32, *rest), gemm_plain(a, b, scale, 32, *rest))
        packed = pack(b, scale, 32)
        torch.testing.assert_close(
            packed_gemm(a, packed, 34, 32, *rest), packed_plain(a, packed, 34, 32, *rest)
        )


def test_compiles_without_graph_breaks_and_with_dynamic_sizes():
    _, b, scale, _ = sample()

    def function(x):
        return gk.ops.int4_gemm(x, b, scale, group=32, activation="relu")

    compiled = torch.compile(function, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)
    for m in (3, 7):
        x = torch.randn(m, 40)
        torch.testing.assert_close(compiled(x), function(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_as_linear_does(dtype):
    x, b, scale, _ = sample()
    with torch.autocast("cpu", dtype=dtype):
        out = gk.ops.int4_gemm(x, b, scale, group=32)
    assert out.dtype == dtype
    assert torch.equal(out, gk.ops.int4_gemm(x.to(dtype), b, scale, group=32))


SCRIPT = """
import torch, greenkernels as gk
b, scale = torch.randint(-8, 8, (7, 70)).to(torch.int8), torch.rand(7, 2).bfloat16().float()
x = torch.randn(5, 70)
steps = scale.repeat_interleave(64, 1)[:, :70]
expected, packed = x @ (b * steps).T, gk.ops.int4_gemm_pack(b, scale)
bound = (x.amax(1) - x.amin(1))[:, None] / 255 * (b * steps).abs().sum(1)
for out in (gk.ops.int4_gemm(x, b, scale), gk.ops.int4_gemm_packed(x, packed, n=7)):
    assert ((out - expected).abs() <= bound).all()
assert torch.equal(gk.ops.int4_gemm_unpack(packed, 7, 70)[0], b)
"""


def test_every_op_runs_on_plain_torch():
    path = os.pathsep.join([str(Path(gk.__file__).parent.parent), *(p for p in sys.path if p)])
    env = {**os.environ, "GREENKERNELS_DISABLE": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
