"""Int8Linear: what it computes, what it keeps, saves and reads, and when it runs torch's own Linear."""

import copy
import io
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, needs_kernels
from torch import nn

import greenkernels as gk
from greenkernels.energy import count
from greenkernels.nn import Int8Linear
from greenkernels.nn.int8_weights import quantize_weight

ERROR = 2e-2  # relative, of 8 bits on both sides: steps of 1/100 of the largest value, uniform errors


def stock_layer(in_features=70, out_features=45, bias=True):
    linear = nn.Linear(in_features, out_features, bias).eval()
    with torch.no_grad():
        linear.weight.normal_(0, in_features**-0.5)
    return linear


def relative(out, expected):
    return float((out.double() - expected.double()).norm() / expected.double().norm())


@needs_kernels
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("options", [{}, {"input_range": (-4.0, 4.5)}])
def test_computes_what_the_stock_layer_does(bias, options):
    stock = stock_layer(bias=bias)
    module = Int8Linear.from_module(stock, **options)
    for shape in [(70,), (9, 70), (2, 3, 70), (0, 70)]:
        x = torch.randn(shape)
        with torch.inference_mode():
            out, expected = module(x), stock(x)
        assert out.shape == expected.shape
        assert out.dtype == torch.float32
        assert expected.numel() == 0 or relative(out, expected) < ERROR
    assert isinstance(module, nn.Linear)
    assert not module.training
    assert (module.in_features, module.out_features) == (70, 45)
    assert module.fallbacks == {}


@needs_kernels
def test_is_the_op_on_its_buffers():
    stock, x = stock_layer(), torch.randn(5, 70)
    values, scale = quantize_weight(stock.weight)
    module = Int8Linear.from_module(stock, activation="gelu")
    with torch.inference_mode():
        expected = gk.ops.int8_gemm(x, values, None, scale, bias=stock.bias.detach(), activation="gelu")
        assert torch.equal(module(x), expected)
    assert torch.equal(module.weight_int8, values)
    assert torch.equal(module.weight, values * scale[:, None])


@needs_kernels
def test_static_input_is_clamped_to_its_range():
    module = Int8Linear.from_module(stock_layer(), input_range=(0, 1))
    with torch.inference_mode():
        assert torch.equal(module(torch.full((1, 70), 7.0)), module(torch.ones(1, 70)))
        assert torch.equal(module(torch.full((1, 70), -7.0)), module(torch.zeros(1, 70)))
    with pytest.raises(
        ValueError, match=r"input_range must be two finite numbers, low <= high, got \(1, 0\)"
    ):
        Int8Linear.from_module(stock_layer(), input_range=(1, 0))


def test_rejects_what_it_cannot_replace():
    with pytest.raises(ValueError, match=r"type must be torch.nn.modules.linear.Linear, got type=Conv2d"):
        Int8Linear.from_module(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match=r"weight must be one of .*, got dtype=torch.float64"):
        Int8Linear.from_module(nn.Linear(3, 3, dtype=torch.float64))
    hooked = nn.Linear(3, 3)
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="_forward_hooks must be empty"):
        Int8Linear.from_module(hooked)
    bad = nn.Linear(3, 3)
    bad.weight.data[1, 1] = float("nan")
    with pytest.raises(ValueError, match="weight must be finite, got NaN or infinite values"):
        Int8Linear.from_module(bad)
    with pytest.raises(ValueError, match="activation must be one of"):
        Int8Linear.from_module(nn.Linear(3, 3), activation="swish")
    with pytest.raises(ValueError, match=r"activation_param must be None for activation='relu', got 0\.1"):
        Int8Linear.from_module(nn.Linear(3, 3), activation="relu", activation_param=0.1)


@pytest.mark.parametrize(("kind", "param"), [("leaky_relu", 0.2), ("prelu", torch.rand(45)), ("relu", None)])
def test_activations_and_the_way_back(kind, param):
    stock, x = stock_layer(), torch.randn(6, 70)
    module = Int8Linear.from_module(stock, activation=kind, activation_param=param)
    back = module.to_module()
    assert type(back[0]) is nn.Linear
    assert torch.equal(back[0].weight, module.weight)
    with torch.inference_mode():
        out, expected = module(x), back(x)
    assert relative(out, expected) < ERROR
    linear = Int8Linear.from_module(stock).to_module()
    assert type(linear) is nn.Linear
    assert torch.equal(linear.bias, stock.bias)
    assert linear.weight.requires_grad


def test_rows_of_zeros_and_no_features():
    stock = stock_layer()
    with torch.no_grad():
        stock.weight[3] = 0
    with torch.inference_mode():
        assert (Int8Linear.from_module(stock)(torch.randn(2, 70))[:, 3] == stock.bias[3]).all()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch: initialising a weight without elements does nothing
            empty = nn.Linear(0, 4).eval()
        assert torch.equal(Int8Linear.from_module(empty)(torch.zeros(2, 0)), empty.bias.detach().expand(2, 4))


@needs_kernels
@pytest.mark.parametrize("options", [{}, {"input_range": (-3, 3), "activation": "relu"}])
def test_copies_pickles_and_state_dicts_give_the_same(options):
    module, x = Int8Linear.from_module(stock_layer(), **options), torch.randn(4, 70)
    fresh = Int8Linear(70, 45, **({"activation": "relu"} if options else {}))
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    assert fresh.load_state_dict(
        torch.load(buffer, weights_only=True)
    ) == nn.modules.module._IncompatibleKeys([], [])
    with torch.inference_mode():
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), fresh):
            assert torch.equal(other(x), module(x))
    size = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    assert size < 70 * 45 + 12 * 45 + 64


@needs_kernels
def test_loads_a_stock_state_dict():
    stock, x = stock_layer(), torch.randn(4, 70)
    nested = nn.Sequential(nn.Identity(), Int8Linear(70, 45))
    nested.load_state_dict(nn.Sequential(nn.Identity(), stock).state_dict())
    with torch.inference_mode():
        assert torch.equal(nested(x), Int8Linear.from_module(stock)(x))


def test_refuses_a_foreign_state_dict():
    module = Int8Linear(70, 45)
    state = module.state_dict()
    with pytest.raises(RuntimeError, match="int8_format must be 1, got 2: saved by another version"):
        module.load_state_dict({**state, "int8_format": torch.tensor(2)})
    with pytest.raises(
        RuntimeError, match=r"weight_int8 must be \[45, 70\], or weight be there, got \[4, 4\]"
    ):
        module.load_state_dict({**state, "weight_int8": torch.zeros(4, 4, dtype=torch.int8)})
    del state["weight_int8"]
    with pytest.raises(RuntimeError, match=r"weight_int8 must be \[45, 70\], or weight be there, got none"):
        module.load_state_dict(state)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_that_of_the_input(dtype):
    module, x = Int8Linear.from_module(stock_layer()), torch.randn(4, 70)
    scale = module.weight_scale.clone()
    module.to(dtype)
    assert module.weight_scale.dtype == module.bias.dtype == torch.float32
    assert torch.equal(module.weight_scale, scale)
    with torch.inference_mode():
        out = module(x.to(dtype))
        assert out.dtype == dtype
        assert torch.equal(out, module(x.to(dtype).float()).to(dtype))
        with torch.autocast("cpu", dtype=dtype):
            assert torch.equal(module(x), out)


def test_falls_back_and_says_so(caplog):
    module, x = (
        Int8Linear.from_module(stock_layer(), activation="relu"),
        torch.randn(4, 70, requires_grad=True),
    )
    out = module(x)
    out.sum().backward()
    assert torch.equal(out, F.linear(x, module.weight, module.bias).relu())
    assert x.grad is not None
    assert module.fallbacks == {"input.requires_grad=True": 1}
    assert "runs F.linear: input.requires_grad=True" in caplog.text
    assert module(x.detach().double()).dtype == torch.float64
    assert module.fallbacks["input.dtype=torch.float64"] == 1
    module.strict = True
    with pytest.raises(
        RuntimeError, match=r"strict=True forbids the fallback to F\.linear, needed for input\.req"
    ):
        module(x)


@needs_kernels
def test_compiles_and_exports():
    module, x = Int8Linear.from_module(stock_layer(), activation="relu"), torch.randn(4, 70)
    with torch.no_grad():
        expected = module(x)
        compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
        assert torch.equal(compiled(x), expected)
        exported = torch.export.export(module, (x,), strict=False)
        assert torch.equal(exported.module()(x), expected)


@needs_kernels
@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_reads_linear_layers_of_torch_ao(dynamic):
    stock, x = stock_layer(), torch.randn(16, 70)
    weight = torch.quantize_per_channel(
        stock.weight.detach(),
        quantize_weight(stock.weight)[1].double(),
        torch.zeros(45, dtype=torch.int64),
        0,
        torch.qint8,
    )
    before, torch.backends.quantized.engine = torch.backends.quantized.engine, "fbgemm"
    try:
        kind = torch.ao.nn.quantized.dynamic.Linear if dynamic else torch.ao.nn.quantized.Linear
        quantized = kind(70, 45)
        quantized.set_weight_bias(weight, stock.bias.detach())
        module = Int8Linear.from_module(quantized)
    finally:
        torch.backends.quantized.engine = before
    assert torch.equal(module.weight_int8, weight.int_repr())
    with torch.inference_mode():
        assert torch.equal(module(x), Int8Linear.from_module(stock)(x))


class TorchaoTensor(torch.Tensor):
    """The form of torchao's int8 weights: integers and scales as attributes of a tensor subclass."""

    @staticmethod
    def __new__(cls, weight, qdata, scale):
        made = torch.Tensor._make_wrapper_subclass(cls, weight.shape, dtype=weight.dtype)
        made.qdata, made.scale = qdata, scale
        return made

    __torch_dispatch__ = None


def test_reads_weights_of_torchao():
    stock = stock_layer()
    values, scale = quantize_weight(stock.weight)
    for good, name in (
        (scale[:, None], ""),
        (torch.ones(45, 2), r"one scale for each of 45 .* got \[45, 2\]"),
    ):
        linear = nn.Linear(70, 45)
        del linear.weight
        linear.weight = TorchaoTensor(stock.weight.detach(), values, good)
        if name:
            with pytest.raises(ValueError, match=name):
                Int8Linear.from_module(linear)
        else:
            module = Int8Linear.from_module(linear)
            assert torch.equal(module.weight_int8, values)
            assert torch.equal(module.weight_scale, scale)


def test_says_what_it_is():
    module = Int8Linear.from_module(stock_layer(), activation="relu", input_range=(-1, 1))
    assert repr(module) == (
        "Int8Linear(in_features=70, out_features=45, bias=True, input=static, activation=relu, packed_bytes=4864)"
    )
    assert "input=dynamic" in repr(Int8Linear(3, 3))


def test_counts():
    module = Int8Linear.from_module(stock_layer())
    counts = count(module, (3, 4, 70)).counts
    assert (counts.flops, counts.dtype) == (2 * 12 * 64 * 70, "int8")
    assert counts.weight_bytes == 4864 + 8 * 45
    assert counts.bytes_read == 4 * 12 * 70 + counts.weight_bytes
    assert counts.bytes_written == 4 * 12 * 45
    assert "input must be [..., 70]" in count(module, (3, 71)).reason
