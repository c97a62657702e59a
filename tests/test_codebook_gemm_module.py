"""CodebookLinear and the ops of codebook_gemm in torch: state, fallbacks, compile, export, plans, counts."""

import copy
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, needs_kernels
from test_int8_gemm_module import relative, stock_layer
from torch import nn

import greenkernels as gk
from greenkernels.energy import count
from greenkernels.nn import CodebookLinear
from greenkernels.ops.codebook_gemm_op import gemm, gemm_plain, pack, packed_gemm, packed_plain, unpack

ERROR = {4: 0.13, 2: 0.5}  # relative: k-means of normal values in 16 and in 4 entries leaves 0.1 and 0.35


def sample(dtype=torch.float32, bits=4):
    b = torch.randint(0, 1 << bits, (34, 40)).to(torch.uint8)
    table = torch.randint(-64, 64, (1 << bits,)).to(torch.int8)
    rest = (torch.randn(34), "prelu", torch.rand(34))
    return torch.randn(5, 9, 40).to(dtype), b, table, torch.rand(34, 2) / 10, rest


@needs_kernels
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_computes_what_the_stock_layer_does(bits, bias):
    stock = stock_layer(bias=bias)
    module = CodebookLinear.from_module(stock, bits=bits)
    for shape in [(70,), (9, 70), (2, 3, 70), (0, 70)]:
        x = torch.randn(shape)
        with torch.inference_mode():
            out, expected = module(x), stock(x)
        assert out.shape == expected.shape
        assert expected.numel() == 0 or relative(out, expected) < ERROR[bits]
    assert len(module.weight_codebook[0].unique()) <= 1 << bits
    assert module.fallbacks == {}


def test_rejects_what_it_cannot_replace():
    with pytest.raises(ValueError, match=r"type must be torch.nn.modules.linear.Linear, got type=Conv2d"):
        CodebookLinear.from_module(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="group must be a power of two from 32 to 1024, got 48"):
        CodebookLinear(64, 8, group=48)
    with pytest.raises(ValueError, match="bits must be 2 or 4, got 3"):
        CodebookLinear(64, 8, bits=3)
    bad = nn.Linear(3, 3)
    bad.weight.data[1, 1] = float("inf")
    with pytest.raises(ValueError, match="weight must be finite, got NaN or infinite values"):
        CodebookLinear.from_module(bad)


@needs_kernels
@pytest.mark.parametrize("bits", [2, 4])
def test_copies_pickles_and_state_dicts_give_the_same(bits):
    module, x = CodebookLinear.from_module(stock_layer(71), group=32, bits=bits), torch.randn(4, 71)
    fresh, buffer = CodebookLinear(71, 45, group=32, bits=bits), io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.inference_mode():
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), fresh):
            assert torch.equal(other(x), module(x))
    size = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    assert size == 45 * -(-71 * bits // 8) + (1 << bits) + 2 * 45 * 3 + 4 * 45 + 8


@needs_kernels
@pytest.mark.parametrize("bits", [2, 4])
def test_loads_a_stock_state_dict(bits):
    stock, x = stock_layer(), torch.randn(4, 70)
    nested = nn.Sequential(nn.Identity(), CodebookLinear(70, 45, bits=bits))
    nested.load_state_dict(nn.Sequential(nn.Identity(), stock).state_dict())
    with torch.inference_mode():
        assert torch.equal(nested(x), CodebookLinear.from_module(stock, bits=bits)(x))


def test_refuses_a_foreign_state_dict():
    module = CodebookLinear(70, 45)
    state = module.state_dict()
    with pytest.raises(RuntimeError, match="codebook_format must be 1, got 2: saved by another version"):
        module.load_state_dict({**state, "codebook_format": torch.tensor(2)})
    with pytest.raises(
        RuntimeError, match=r"and \[45, 2\], or weight be there, got \[45, 35\], \[16\] and \[45, 3\]"
    ):
        module.load_state_dict({**state, "weight_scale": torch.zeros(45, 3)})


def test_falls_back_and_says_so(caplog):
    module, x = CodebookLinear.from_module(stock_layer()), torch.randn(4, 70, requires_grad=True)
    out = module(x)
    out.sum().backward()
    assert torch.equal(out, F.linear(x, module.weight, module.bias))
    assert module.fallbacks == {"input.requires_grad=True": 1}
    assert "runs F.linear: input.requires_grad=True" in caplog.text


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_registration(dtype, bits):
    a, b, table, scale, rest = sample(dtype, bits)
    packed = pack(b, table, scale, 32)
    torch.library.opcheck(gemm, (a, b, table, scale, 32, *rest))
    torch.library.opcheck(packed_gemm, (a, packed, 34, 32, bits, *rest))
    torch.library.opcheck(pack, (b, table, scale, 32))
    torch.library.opcheck(unpack, (packed, 34, 40, 32, bits))
    torch.testing.assert_close(gemm(a, b, table, scale, 32, *rest), gemm_plain(a, b, table, scale, 32, *rest))
    torch.testing.assert_close(
        packed_gemm(a, packed, 34, 32, bits, *rest), packed_plain(a, packed, 34, 32, bits, *rest)
    )


@needs_kernels
def test_compiles_exports_and_casts_as_linear_does():
    module, x = CodebookLinear.from_module(stock_layer(), activation="relu"), torch.randn(4, 70)
    with torch.no_grad():
        expected = module(x)
        compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
        assert torch.equal(compiled(x), expected)
        assert torch.equal(torch.export.export(module, (x,), strict=False).module()(x), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = module(x)
    assert out.dtype == torch.bfloat16


def test_says_what_it_is_and_counts():
    module = CodebookLinear.from_module(stock_layer(), activation="relu")
    assert repr(module) == (
        "CodebookLinear(in_features=70, out_features=45, bias=True, bits=4, group=64, activation=relu, "
        "packed_bytes=4672)"
    )
    counts = count(module, (3, 4, 70)).counts
    assert (counts.flops, counts.dtype) == (2 * 12 * 64 * 128, "int8")
    assert counts.weight_bytes == 4672 + 4 * 45
    assert "input must be [..., 70]" in count(module, (3, 71)).reason


@needs_kernels
def test_a_plan_takes_it_where_it_is_asked_for_by_name():
    network, x = nn.Sequential(nn.Linear(96, 128), nn.ReLU(), nn.Linear(128, 10)).eval(), torch.randn(2, 96)
    options = {"measure": False, "progress": False, "cache": False, "max_error": 0.3}
    assert all(
        layer.stem != "codebook_gemm" for layer in gk.plan(network, x, precision="int8", **options).layers
    )
    fast = gk.plan(network, x, precision={"codebook_gemm"}, **options).apply(network)
    assert isinstance(fast[0], CodebookLinear)
    assert fast[0].activation == "relu"


SCRIPT = """
import torch, greenkernels as gk
b, scale = torch.randint(0, 16, (7, 70)).to(torch.uint8), torch.rand(7, 2).bfloat16().float()
x, table = torch.randn(5, 70), torch.randint(-64, 64, (16,)).to(torch.int8)
steps = scale.repeat_interleave(64, 1)[:, :70]
w = table[b.long()] * steps
expected, packed = x @ w.T, gk.ops.codebook_gemm_pack(b, table, scale)
bound = (x.amax(1) - x.amin(1))[:, None] / 255 * w.abs().sum(1)
for out in (gk.ops.codebook_gemm(x, b, table, scale), gk.ops.codebook_gemm_packed(x, packed, n=7)):
    assert ((out - expected).abs() <= bound).all()
assert torch.equal(gk.ops.codebook_gemm_unpack(packed, 7, 70)[0], b)
"""


def test_every_op_runs_on_plain_torch():
    path = os.pathsep.join([str(Path(gk.__file__).parent.parent), *(p for p in sys.path if p)])
    env = {**os.environ, "GREENKERNELS_DISABLE": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
