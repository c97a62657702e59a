"""csr_matmul as an op of torch: opcheck, compile, autocast, transforms, the way without compiled kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND
from csr_cases import make

import greenkernels as gk
from greenkernels.ops import csr_matmul_op as op


@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(requires_grad):
    crow, col, values, x, bias, _ = make(5, 6, 9, 0.4)
    packed = op.pack(crow, col, values, 9, 64)
    for tensor in (values, x, bias):
        tensor.requires_grad_(requires_grad)
    torch.library.opcheck(op.matmul, (crow, col, values, x, bias))
    torch.library.opcheck(op.packed_matmul, (x, packed, bias, 6, values.numel(), 64))
    torch.library.opcheck(op.values_grad, (crow, col, x[:, :6], x))


def test_opcheck_of_the_other_ops():
    crow, col, values, _, _, _ = make(5, 6, 9, 0.4)
    for batch in (1, 64):
        torch.library.opcheck(op.pack, (crow, col, values, 9, batch))
        packed = op.pack(crow, col, values, 9, batch)
        torch.library.opcheck(op.unpack, (packed, 6, 9, values.numel(), batch, False))
    torch.library.opcheck(op.transpose, (crow, col, 9))


def test_compiles_without_graph_breaks_and_with_dynamic_sizes():
    crow, col, values, _, bias, _ = make(5, 60, 90, 0.4)
    packed = gk.ops.csr_matmul_pack(crow, col, values, 90)

    def function(x):
        out = gk.ops.csr_matmul(crow, col, values, x, bias=bias)
        return out + gk.ops.csr_matmul_packed(x, packed, out_features=60, nnz=values.numel())

    compiled = torch.compile(function, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)
    for rows in (3, 20):
        x = torch.randn(rows, 90)
        torch.testing.assert_close(compiled(x), function(x))


def test_compiled_gradients_match_eager():
    crow, col, values, x, bias, _ = make(5, 60, 90, 0.4)
    tensors = [t.requires_grad_() for t in (values, x, bias)]

    def loss(values, x, bias):
        return gk.ops.csr_matmul(crow, col, values, x, bias=bias).square().sum()

    compiled = torch.compile(loss, backend=COMPILE_BACKEND, fullgraph=True)
    grads = [torch.autograd.grad(function(*tensors), tensors) for function in (loss, compiled)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_as_linear_does(dtype):
    crow, col, values, x, bias, weight = make(5, 60, 90, 0.4)
    packed = gk.ops.csr_matmul_pack(crow, col, values, 90)
    with torch.autocast("cpu", dtype=dtype):
        out = gk.ops.csr_matmul(crow, col, values, x, bias=bias)
        other = gk.ops.csr_matmul_packed(x, packed, bias, out_features=60, nnz=values.numel())
        assert out.dtype == other.dtype == F.linear(x, weight, bias).dtype == dtype
    expected = F.linear(x, weight, bias)
    # x, values and result are rounded to the dtype: three roundings of at most eps / 2 of sums below 40.
    for result in (out, other):
        torch.testing.assert_close(result.float(), expected, rtol=0, atol=40 * 1.5 * torch.finfo(dtype).eps)


def test_vmap_and_forward_mode():
    crow, col, values, x, bias, weight = make(5, 6, 9, 0.4, torch.float64)
    stacked = torch.stack([x, 2 * x])
    out = torch.func.vmap(lambda x: gk.ops.csr_matmul(crow, col, values, x, bias=bias))(stacked)
    torch.testing.assert_close(out[1], F.linear(2 * x, weight, bias))
    _, tangent = torch.func.jvp(lambda x: gk.ops.csr_matmul(crow, col, values, x), (x,), (x,))
    torch.testing.assert_close(tangent, F.linear(x, weight))


SCRIPT = """
import torch, torch.nn.functional as F, greenkernels as gk
w, x, b = torch.randn(70, 90), torch.randn(5, 90), torch.randn(70)
w[torch.rand(70, 90) < 0.8] = 0
csr = w.to_sparse_csr()
parts = csr.crow_indices(), csr.col_indices(), csr.values()
torch.testing.assert_close(gk.ops.csr_matmul(*parts, x, bias=b), F.linear(x, w, b))
for batch in (1, 64):
    packed = gk.ops.csr_matmul_pack(*parts, 90, batch=batch)
    out = gk.ops.csr_matmul_packed(x, packed, b, out_features=70, nnz=parts[2].numel(), batch=batch)
    torch.testing.assert_close(out, F.linear(x, w, b))
values = parts[2].clone().requires_grad_()
gk.ops.csr_matmul(*parts[:2], values, x).sum().backward()
assert values.grad.shape == values.shape
"""


def test_every_op_runs_on_plain_torch():
    path = os.pathsep.join([str(Path(gk.__file__).parent.parent), *(p for p in sys.path if p)])
    env = {**os.environ, "GREENKERNELS_DISABLE": "1", "GREENKERNELS_JIT": "0", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
