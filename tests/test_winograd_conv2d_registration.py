"""winograd_conv2d as an op of torch: opcheck, compile, export, autocast, the way without compiled kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from winograd_cases import COMPILE_BACKEND, make

import greenkernels as gk
from greenkernels.ops.winograd_conv2d_op import conv, conv_out, pack, packed_conv, packed_conv_out, unpack

OPS = torch.ops.greenkernels


def sample(activation=None, requires_grad=False, dtype=torch.float32):
    x, weight, bias = make((2, 3, 6, 7), 1, dtype), make((5, 3, 3, 3), 2, dtype), make((5,), 3, dtype)
    param = make((5,), 4, dtype) if activation == "prelu" else None
    skip = make((2, 5, 6, 7), 5, dtype)
    for tensor in (x, weight, bias, param, skip):
        if tensor is not None:
            tensor.requires_grad_(requires_grad)
    return x, weight, bias, [1, 1], 4, activation, param, skip, 0.5


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("activation", [None, "relu", "prelu", "gelu"])
def test_opcheck(activation, requires_grad):
    torch.library.opcheck(conv, sample(activation, requires_grad))
    x, weight, bias, *options = sample(activation, requires_grad)
    torch.library.opcheck(packed_conv, (x, pack(weight.detach(), 4), bias, 5, *options))


def test_opcheck_of_the_other_variants():
    x, weight, bias, *options = sample("relu")
    torch.library.opcheck(pack, (weight, 2))
    torch.library.opcheck(unpack, (pack(weight, 6), 5, 3, 6))
    torch.library.opcheck(conv_out, (x, weight, bias, *options), {"out": torch.empty(2, 5, 6, 7)})
    torch.library.opcheck(
        packed_conv_out, (x, pack(weight, 4), bias, 5, *options), {"out": torch.empty(2, 5, 6, 7)}
    )
    torch.library.opcheck(
        conv, (x.to(memory_format=torch.channels_last), weight, None, [0, 2], 6, None, None, None, 1.0)
    )


def test_compiles_without_graph_breaks_and_with_dynamic_sizes():
    def function(x, weight, bias):
        out = torch.empty(x.shape[0], 5, *x.shape[2:])
        gk.ops.winograd_conv2d(x, weight, bias, padding=1, out=out)
        return gk.ops.winograd_conv2d(
            F.relu(out), weight[:, [0, 1, 2, 0, 1]], padding=1, activation="leaky_relu", activation_param=0.1
        )

    compiled = torch.compile(function, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)
    for shape in [(1, 3, 6, 7), (2, 3, 9, 5)]:
        args = make(shape, 1), make((5, 3, 3, 3), 2), make((5,), 3)
        torch.testing.assert_close(compiled(*args), function(*args))


def test_compiled_gradients_match_eager():
    def loss(x, weight, bias, skip):
        return gk.ops.winograd_conv2d(x, weight, bias, padding=1, skip=skip, activation="silu").square().sum()

    grads = []
    for function in (loss, torch.compile(loss, backend=COMPILE_BACKEND, fullgraph=True)):
        x, weight, bias, *_, skip, _ = sample(requires_grad=True)
        grads.append(torch.autograd.grad(function(x, weight, bias, skip), (x, weight, bias, skip)))
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_as_convolution_does(dtype):
    x, weight, bias, padding, _tile, *_, skip, _scale = sample("relu")
    with torch.autocast("cpu", dtype=dtype):
        out = gk.ops.winograd_conv2d(x, weight, bias, padding=padding, skip=skip)
        packed = gk.ops.winograd_conv2d_packed(
            x, pack(weight, 4), bias, out_channels=5, padding=padding, skip=skip
        )
        assert out.dtype == packed.dtype == F.conv2d(x, weight, bias, padding=1).dtype == dtype
        assert gk.ops.winograd_conv2d(x.double(), weight.double()).dtype == torch.float64
        # Arguments of two dtypes meet in the autocast dtype.
        assert gk.ops.winograd_conv2d(x.to(dtype), weight, bias).dtype == dtype
    expected = F.conv2d(x, weight, bias, padding=1) + skip
    # Inputs, weights, skip and result are rounded to the dtype: four roundings of at most eps / 2 of sums
    # below 27 + 2.
    for result in (out, packed):
        torch.testing.assert_close(result.float(), expected, rtol=0, atol=29 * 2 * torch.finfo(dtype).eps)
    with torch.autocast("cpu", dtype=dtype, enabled=False):
        assert gk.ops.winograd_conv2d(x, weight, bias).dtype == torch.float32


def test_autocast_keeps_gradients_in_the_dtype_of_their_tensors():
    x, weight, bias, *_ = sample(requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = gk.ops.winograd_conv2d(x, weight, bias)
    out.sum().backward()
    assert x.grad.dtype == weight.grad.dtype == bias.grad.dtype == torch.float32


def test_vmap_over_a_batch_of_inputs():
    x, weight, *_ = sample()
    stacked = torch.stack([x, 2 * x])
    out = torch.func.vmap(lambda x: gk.ops.winograd_conv2d(x, weight))(stacked)
    assert torch.equal(out[1], gk.ops.winograd_conv2d(2 * x, weight))


@pytest.mark.parametrize(
    ("variable", "reason"),
    [("GREENKERNELS_DISABLE=1", "GREENKERNELS_DISABLE=1"), ("GREENKERNELS_JIT=0", "no compiled kernel")],
)
def test_every_op_and_module_runs_on_plain_torch(variable, reason):
    if variable.startswith("GREENKERNELS_JIT") and gk._build.status().kind == "ahead-of-time":
        pytest.skip("a binary is installed, so that nothing is built on first use")
    name, value = variable.split("=")
    env = {**os.environ, name: value, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    script = Path(__file__).with_name("winograd_on_plain_torch.py")
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"strict=True forbids the fallback to torch's convolution, needed for {reason}" in done.stdout
