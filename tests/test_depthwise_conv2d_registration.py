"""depthwise_conv2d as an op of torch: opcheck, compile, autocast, the way without compiled kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, make

import greenkernels as gk
from greenkernels.ops.depthwise_conv2d_op import conv, conv_out, pack, packed_conv, packed_conv_out, unpack

GEOMETRY = ([2, 1], [1, 2], [1, 2])


def sample(activation=None, requires_grad=False):
    x, weight, bias = make((2, 6, 6, 7), 1), make((6, 1, 3, 3), 2), make((6,), 3)
    param = make((6,), 4) if activation == "prelu" else None
    skip = make((2, 6, 3, 7), 5)
    for tensor in (x, weight, bias, param, skip):
        if tensor is not None:
            tensor.requires_grad_(requires_grad)
    return x, weight, bias, *GEOMETRY, activation, param, skip, 0.5


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("activation", [None, "relu", "prelu", "gelu"])
def test_opcheck(activation, requires_grad):
    torch.library.opcheck(conv, sample(activation, requires_grad))
    x, weight, bias, *options = sample(activation, requires_grad)
    torch.library.opcheck(packed_conv, (x, pack(weight.detach()), bias, [3, 3], *options))


def test_opcheck_of_the_other_variants():
    x, weight, bias, *options = sample("relu")
    packed = pack(weight)
    torch.library.opcheck(pack, (weight,))
    torch.library.opcheck(unpack, (packed, 6, [3, 3]))
    out = torch.empty(2, 6, 3, 7)
    torch.library.opcheck(conv_out, (x, weight, bias, *options), {"out": out})
    torch.library.opcheck(packed_conv_out, (x, packed, bias, [3, 3], *options), {"out": out})


def test_compiles_without_graph_breaks_and_with_dynamic_sizes():
    def function(x, weight, bias):
        out = gk.ops.depthwise_conv2d(x, weight, bias, stride=2, padding=1, activation="relu")
        return gk.ops.depthwise_conv2d(out, weight, padding=1, dilation=2)

    compiled = torch.compile(function, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)
    for shape in [(1, 3, 16, 17), (2, 3, 19, 15)]:
        args = make(shape, 1), make((3, 1, 3, 3), 2), make((3,), 3)
        torch.testing.assert_close(compiled(*args), function(*args))


def test_compiled_gradients_match_eager():
    def loss(x, weight, bias):
        return gk.ops.depthwise_conv2d(x, weight, bias, stride=2, activation="silu").square().sum()

    grads = []
    for function in (loss, torch.compile(loss, backend=COMPILE_BACKEND, fullgraph=True)):
        x, weight, bias, *_ = sample(requires_grad=True)
        grads.append(torch.autograd.grad(function(x, weight, bias), (x, weight, bias)))
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_as_convolution_does(dtype):
    x, weight, bias, *_ = sample("relu")
    with torch.autocast("cpu", dtype=dtype):
        out = gk.ops.depthwise_conv2d(x, weight, bias)
        packed = gk.ops.depthwise_conv2d_packed(x, pack(weight), bias, kernel_size=3)
        assert out.dtype == packed.dtype == F.conv2d(x, weight, bias, groups=6).dtype == dtype
    expected = F.conv2d(x, weight, bias, groups=6)
    # Inputs, weights and result are rounded to the dtype: three roundings of at most eps / 2 of sums below 9 + 1.
    for result in (out, packed):
        torch.testing.assert_close(result.float(), expected, rtol=0, atol=10 * 1.5 * torch.finfo(dtype).eps)


def test_vmap_over_a_batch_of_inputs():
    x, weight, *_ = sample()
    out = torch.func.vmap(lambda x: gk.ops.depthwise_conv2d(x, weight))(torch.stack([x, 2 * x]))
    assert torch.equal(out[1], gk.ops.depthwise_conv2d(2 * x, weight))


SCRIPT = """
import torch, torch.nn.functional as F, greenkernels as gk
x, w, b = torch.randn(2, 6, 9, 7), torch.randn(6, 1, 3, 3), torch.randn(6)
options = {"stride": 2, "padding": 1, "dilation": (1, 2)}
expected = F.conv2d(x, w, b, groups=6, **options)
packed = gk.ops.depthwise_conv2d_pack(w)
torch.testing.assert_close(gk.ops.depthwise_conv2d(x, w, b, **options), expected)
torch.testing.assert_close(
    gk.ops.depthwise_conv2d_packed(x, packed, b, kernel_size=3, **options), expected)
stock = torch.nn.Conv2d(6, 6, 3, groups=6, **options).eval()
module = gk.nn.DepthwiseConv2d.from_module(stock)
assert torch.equal(module(x), stock(x)) and module.fallbacks == {"GREENKERNELS_DISABLE=1": 1}, module.fallbacks
"""


def test_every_op_and_module_runs_on_plain_torch():
    path = os.pathsep.join([str(Path(gk.__file__).parent.parent), *(p for p in sys.path if p)])
    env = {**os.environ, "GREENKERNELS_DISABLE": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
