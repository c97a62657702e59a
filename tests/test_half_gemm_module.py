"""HalfLinear: what it computes, keeps, saves and reads, when it runs torch's own Linear, and in plans."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, needs_kernels
from test_int8_gemm_module import stock_layer
from torch import nn

import greenkernels as gk
from greenkernels.compress.pipeline.structure import describe, rebuild
from greenkernels.energy import count
from greenkernels.nn import HalfLinear
from greenkernels.ops.half_packing import FORMATS

ROUNDING = {"bfloat16": 2.0**-9, "float16": 2.0**-12}  # of a weight, at most: half of its last bit
EPS = torch.finfo(torch.float32).eps


@needs_kernels
@pytest.mark.parametrize("storage", FORMATS)
@pytest.mark.parametrize("bias", [True, False])
def test_computes_what_the_stock_layer_does(storage, bias):
    stock = stock_layer(bias=bias)
    module = HalfLinear.from_module(stock, storage=storage)
    for shape in [(70,), (9, 70), (2, 30, 70), (0, 70)]:
        x = torch.randn(shape)
        with torch.inference_mode():
            out, expected = module(x), stock(x)
            size = F.linear(x.abs(), stock.weight.abs(), stock.bias.abs() if bias else None)
        assert out.shape == expected.shape
        # Each product carries the rounding of its weight; both sums round once a product and for the bias. Float16
        # numbers below 2^-14 are rounded to multiples of 2^-24.
        small = 2.0**-25 * x.abs().sum(-1, keepdim=True)
        assert ((out - expected).abs() <= (ROUNDING[storage] + 75 * EPS) * size + small).all()
    assert isinstance(module, nn.Linear)
    assert not module.training
    assert module.fallbacks == {}


@needs_kernels
@pytest.mark.parametrize("storage", FORMATS)
def test_is_the_op_on_its_buffers(storage):
    stock, x = stock_layer(), torch.randn(5, 70)
    module, rounded = (
        HalfLinear.from_module(stock, storage=storage, activation="gelu"),
        stock.weight.to(FORMATS[storage]),
    )
    with torch.inference_mode():
        expected = gk.ops.half_gemm(x, rounded, bias=stock.bias.detach(), activation="gelu")
        assert torch.equal(module(x), expected)
    assert torch.equal(module.weight_half, rounded)
    assert torch.equal(module.weight, rounded.float())


def test_rejects_what_it_cannot_replace():
    with pytest.raises(ValueError, match=r"type must be torch.nn.modules.linear.Linear, got type=Conv2d"):
        HalfLinear.from_module(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match=r"weight must be one of .*, got dtype=torch.float64"):
        HalfLinear.from_module(nn.Linear(3, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="storage must be one of bfloat16, float16, got 'float32'"):
        HalfLinear.from_module(nn.Linear(3, 3), storage="float32")
    large = nn.Linear(3, 3)
    large.weight.data[1, 1] = 1e5
    with pytest.raises(ValueError, match="weight must be finite in float16, got NaN, infinite or too large"):
        HalfLinear.from_module(large)
    assert HalfLinear.from_module(large, storage="bfloat16").weight[1, 1] == torch.tensor(1e5).bfloat16()


@pytest.mark.parametrize(("kind", "param"), [("leaky_relu", 0.2), ("prelu", torch.rand(45)), ("relu", None)])
def test_activations_and_the_way_back(kind, param):
    stock, x = stock_layer(), torch.randn(6, 70)
    module = HalfLinear.from_module(stock, activation=kind, activation_param=param)
    back = module.to_module()
    assert type(back[0]) is nn.Linear
    assert torch.equal(back[0].weight, module.weight)
    with torch.inference_mode():
        size = F.linear(x.abs(), module.weight.abs(), module.bias.abs())
        assert ((module(x) - back(x)).abs() <= 75 * EPS * size).all()
    again = HalfLinear.from_module(HalfLinear.from_module(stock).to_module())
    assert torch.equal(again.packed, HalfLinear.from_module(stock).packed)


@needs_kernels
@pytest.mark.parametrize("storage", FORMATS)
def test_copies_pickles_files_and_state_dicts_give_the_same(storage, tmp_path):
    module, x = HalfLinear.from_module(stock_layer(71), storage=storage), torch.randn(4, 71)
    fresh, loaded = HalfLinear(71, 45, storage=storage), HalfLinear(71, 45, storage=storage)
    fresh.load_state_dict(module.state_dict())
    file = gk.save(module, tmp_path / "half.safetensors")
    gk.load(loaded, file)
    rebuilt = rebuild(nn.Sequential(nn.Linear(71, 45)), describe(nn.Sequential(module)))
    rebuilt.load_state_dict(nn.Sequential(module).state_dict())
    with torch.inference_mode():
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), fresh, loaded, rebuilt[0]):
            assert torch.equal(other(x), module(x))
    assert file.stat().st_size < gk.save(stock_layer(71), tmp_path / "stock.safetensors").stat().st_size
    assert sum(t.nbytes for t in module.state_dict().values()) == 2 * 71 * 45 + 4 * 45


@needs_kernels
def test_state_dicts_of_the_stock_layer_go_both_ways():
    stock, x = stock_layer(), torch.randn(4, 70)
    nested = nn.Sequential(nn.Identity(), HalfLinear(70, 45))
    nested.load_state_dict(nn.Sequential(nn.Identity(), stock).state_dict())
    module = HalfLinear.from_module(stock)
    with torch.inference_mode():
        assert torch.equal(nested(x), module(x))
    back = nn.Linear(70, 45)
    back.load_state_dict(module.state_dict())
    assert torch.equal(back.weight, module.weight)


def test_refuses_a_foreign_state_dict():
    module = HalfLinear(70, 45)
    state = module.state_dict()
    with pytest.raises(RuntimeError, match=r"weight must have shape \[45, 70\], got \[45, 71\]"):
        module.load_state_dict({**state, "weight": torch.zeros(45, 71)})
    for value in (1e5, float("nan"), float("inf")):
        wrong = torch.zeros(45, 70).index_fill(0, torch.tensor(3), value)
        with pytest.raises(
            RuntimeError, match="weight must be finite in float16, got NaN, infinite or too large"
        ):
            module.load_state_dict({**state, "weight": wrong})
    assert module.weight.isfinite().all()
    del state["weight"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "weight"'):
        module.load_state_dict(state)


@needs_kernels
@pytest.mark.parametrize("storage", FORMATS)
def test_no_cast_changes_the_weight(storage):
    module, x = HalfLinear.from_module(stock_layer(), storage=storage), torch.randn(4, 70)
    packed = module.packed.clone()
    for cast in (module.half, module.bfloat16, module.double, module.float):
        cast()
        assert module.bias.dtype == torch.float32
        assert module.packed.dtype == packed.dtype
        assert torch.equal(module.packed, packed)
    with torch.inference_mode():
        assert torch.equal(module(x.half()), module(x.half().float()).half())


def test_falls_back_and_says_so(caplog):
    module, x = HalfLinear.from_module(stock_layer()), torch.randn(4, 70, requires_grad=True)
    out = module(x)
    out.sum().backward()
    assert torch.equal(out, F.linear(x, module.weight, module.bias))
    assert module.fallbacks == {"input.requires_grad=True": 1}
    assert "runs F.linear: input.requires_grad=True" in caplog.text


@needs_kernels
def test_compiles_exports_and_casts_as_linear_does():
    module, x = HalfLinear.from_module(stock_layer(), activation="relu"), torch.randn(4, 70)
    with torch.no_grad():
        expected = module(x)
        compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
        assert torch.equal(compiled(x), expected)
        assert torch.equal(torch.export.export(module, (x,), strict=False).module()(x), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert module(x).dtype == torch.bfloat16


def test_says_what_it_is_and_counts():
    module = HalfLinear.from_module(stock_layer(), activation="relu")
    assert repr(module) == (
        "HalfLinear(in_features=70, out_features=45, bias=True, storage=float16, activation=relu, packed_bytes=8960)"
    )
    counts = count(module, (3, 4, 70)).counts
    assert (counts.flops, counts.dtype) == (2 * 12 * 64 * 70, "float32")
    assert counts.weight_bytes == 2 * 64 * 70 + 4 * 45
    assert counts.bytes_read == 4 * 12 * 70 + counts.weight_bytes
    assert "input must be [..., 70]" in count(module, (3, 71)).reason


@needs_kernels
def test_a_plan_takes_it_where_it_is_asked_for_by_name():
    network, x = (
        nn.Sequential(nn.Linear(1024, 600), nn.ReLU(), nn.Linear(600, 10)).eval(),
        torch.randn(2, 1024),
    )
    options = {"measure": False, "progress": False, "cache": False, "max_error": 1e-3}
    for precision in ("float32", "int8"):
        made = gk.plan(network, x, precision=precision, **options)
        assert all(layer.stem != "half_gemm" for layer in made.layers)
    made = gk.plan(network, x, precision={"half_gemm"}, **options)
    assert [layer.stem for layer in made.layers] == ["half_gemm", None]
    assert "stays in cache (rule: 2097152 bytes)" in made.layers[1].reason
    fast = made.apply(network)
    assert isinstance(fast[0], HalfLinear)
    assert (fast[0].storage, fast[0].activation) == ("float16", "relu")
    # An error that no rounding to 16 bits keeps: half of the last bit of most weights is more.
    strict = gk.plan(network, x, precision={"half_gemm"}, **(options | {"max_error": 1e-6}))
    assert [layer.stem for layer in strict.layers] == [None, None]
    many = gk.plan(network, torch.randn(17, 1024), precision={"half_gemm"}, **options)
    assert "too many rows: float32 is as fast (rule: 16)" in many.layers[0].reason
