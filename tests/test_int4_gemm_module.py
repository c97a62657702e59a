"""Int4Linear: what it computes, what it keeps, saves and reads, when it runs torch's own Linear, and in plans."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, needs_kernels
from test_int8_gemm_module import relative, stock_layer
from torch import nn

import greenkernels as gk
from greenkernels.energy import count
from greenkernels.nn import Int4Linear
from greenkernels.nn.int4_weights import quantize_groups

ERROR = 0.15  # relative: 4 bits of normal values, whose step is a third to a half of their spread


@needs_kernels
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bias", [True, False])
def test_computes_what_the_stock_layer_does(group, bias):
    stock = stock_layer(bias=bias)
    module = Int4Linear.from_module(stock, group=group)
    for shape in [(70,), (9, 70), (2, 3, 70), (0, 70)]:
        x = torch.randn(shape)
        with torch.inference_mode():
            out, expected = module(x), stock(x)
        assert out.shape == expected.shape
        assert expected.numel() == 0 or relative(out, expected) < ERROR
    assert isinstance(module, nn.Linear)
    assert not module.training
    assert (module.in_features, module.out_features) == (70, 45)
    assert module.fallbacks == {}


@needs_kernels
def test_is_the_op_on_its_buffers():
    stock, x = stock_layer(), torch.randn(5, 70)
    values, scale = quantize_groups(stock.weight, 64)
    module = Int4Linear.from_module(stock, activation="gelu")
    with torch.inference_mode():
        expected = gk.ops.int4_gemm(x, values, scale, bias=stock.bias.detach(), activation="gelu")
        assert torch.equal(module(x), expected)
    assert torch.equal(module.weight_int4[0], values)
    assert torch.equal(module.weight, values * scale.repeat_interleave(64, 1)[:, :70])


def test_rejects_what_it_cannot_replace():
    with pytest.raises(ValueError, match=r"type must be torch.nn.modules.linear.Linear, got type=Conv2d"):
        Int4Linear.from_module(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match=r"weight must be one of .*, got dtype=torch.float64"):
        Int4Linear.from_module(nn.Linear(3, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="group must be 32, 64 or 128, got 48"):
        Int4Linear(64, 8, group=48)
    bad = nn.Linear(3, 3)
    bad.weight.data[1, 1] = float("inf")
    with pytest.raises(ValueError, match="weight must be finite, got NaN or infinite values"):
        Int4Linear.from_module(bad)


@pytest.mark.parametrize(("kind", "param"), [("leaky_relu", 0.2), ("prelu", torch.rand(45)), ("relu", None)])
def test_activations_and_the_way_back(kind, param):
    stock, x = stock_layer(), torch.randn(6, 70)
    module = Int4Linear.from_module(stock, activation=kind, activation_param=param)
    back = module.to_module()
    assert type(back[0]) is nn.Linear
    assert torch.equal(back[0].weight, module.weight)
    with torch.inference_mode():
        assert relative(module(x), back(x)) < 2e-2  # of 8 bits of the input
    assert torch.equal(Int4Linear.from_module(stock).to_module().bias, stock.bias)


@needs_kernels
def test_copies_pickles_and_state_dicts_give_the_same():
    module, x = Int4Linear.from_module(stock_layer(71), group=32), torch.randn(4, 71)
    fresh, buffer = Int4Linear(71, 45, group=32), io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    assert fresh.load_state_dict(
        torch.load(buffer, weights_only=True)
    ) == nn.modules.module._IncompatibleKeys([], [])
    with torch.inference_mode():
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), fresh):
            assert torch.equal(other(x), module(x))
    size = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    assert size == 45 * 36 + 2 * 45 * 3 + 4 * 45 + 8


@needs_kernels
def test_loads_a_stock_state_dict():
    stock, x = stock_layer(), torch.randn(4, 70)
    nested = nn.Sequential(nn.Identity(), Int4Linear(70, 45))
    nested.load_state_dict(nn.Sequential(nn.Identity(), stock).state_dict())
    with torch.inference_mode():
        assert torch.equal(nested(x), Int4Linear.from_module(stock)(x))


def test_refuses_a_foreign_state_dict():
    module = Int4Linear(70, 45)
    state = module.state_dict()
    with pytest.raises(RuntimeError, match="int4_format must be 1, got 2: saved by another version"):
        module.load_state_dict({**state, "int4_format": torch.tensor(2)})
    with pytest.raises(
        RuntimeError,
        match=r"must be \[45, 35\] and \[45, 2\], or weight be there, got \[45, 35\] and \[45, 3\]",
    ):
        module.load_state_dict({**state, "weight_scale": torch.zeros(45, 3)})
    del state["weight_int4"]
    with pytest.raises(RuntimeError, match=r"or weight be there, got None and \[45, 2\]"):
        module.load_state_dict(state)


@needs_kernels
def test_half_precision_is_that_of_the_input():
    module, x = Int4Linear.from_module(stock_layer()), torch.randn(4, 70)
    packed = module.packed.clone()
    module.half()
    assert module.bias.dtype == torch.float32
    assert torch.equal(module.packed, packed)
    with torch.inference_mode():
        assert torch.equal(module(x.half()), module(x.half().float()).half())


def test_falls_back_and_says_so(caplog):
    module, x = Int4Linear.from_module(stock_layer()), torch.randn(4, 70, requires_grad=True)
    out = module(x)
    out.sum().backward()
    assert torch.equal(out, F.linear(x, module.weight, module.bias))
    assert module.fallbacks == {"input.requires_grad=True": 1}
    assert "runs F.linear: input.requires_grad=True" in caplog.text


@needs_kernels
def test_compiles_and_exports():
    module, x = Int4Linear.from_module(stock_layer(), activation="relu"), torch.randn(4, 70)
    with torch.no_grad():
        expected = module(x)
        compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
        assert torch.equal(compiled(x), expected)
        assert torch.equal(torch.export.export(module, (x,), strict=False).module()(x), expected)


def test_says_what_it_is():
    module = Int4Linear.from_module(stock_layer(), activation="relu")
    assert repr(module) == (
        "Int4Linear(in_features=70, out_features=45, bias=True, group=64, activation=relu, packed_bytes=4608)"
    )


def test_counts():
    module = Int4Linear.from_module(stock_layer())
    counts = count(module, (3, 4, 70)).counts
    assert (counts.flops, counts.dtype) == (2 * 12 * 64 * 128, "int8")
    assert counts.weight_bytes == 4608 + 4 * 45
    assert "input must be [..., 70]" in count(module, (3, 71)).reason


@needs_kernels
def test_a_plan_takes_it_where_it_is_asked_for_by_name():
    network, x = nn.Sequential(nn.Linear(96, 128), nn.ReLU(), nn.Linear(128, 10)).eval(), torch.randn(2, 96)
    options = {"measure": False, "progress": False, "cache": False, "max_error": 0.3}
    for precision in ("float32", "int8"):
        made = gk.plan(network, x, precision=precision, **options)
        assert all(layer.stem != "int4_gemm" for layer in made.layers)
    made = gk.plan(network, x, precision={"int4_gemm"}, **options)
    assert [layer.stem for layer in made.layers] == ["int4_gemm", None]
    assert "too few features" in made.layers[1].reason
    fast = made.apply(network)
    assert isinstance(fast[0], Int4Linear)
    assert fast[0].activation == "relu"
    many = gk.plan(network, torch.randn(9, 96), precision={"int4_gemm"}, **options)
    assert "too many rows: int8_gemm is faster (rule: 8)" in many.layers[0].reason
