"""Int8Conv2d against nn.Conv2d and the op, its files, its fallbacks, and what gk.plan makes of it."""

import copy
import io
import logging
import pickle

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, FORMATS, make, needs_kernels
from torch import nn

import greenkernels as gk
from greenkernels.energy import count
from greenkernels.nn import Int8Conv2d
from greenkernels.ops import activation as activations
from greenkernels.planning import candidates

OPTIONS = [
    {},
    {"bias": False, "stride": 2},
    {"kernel_size": 1, "padding": 0},
    {"kernel_size": (2, 5), "padding": "same"},
    {"kernel_size": 4, "padding": "same", "dilation": (1, 2)},
    {"padding": "valid", "dilation": 2},
    {"groups": 2, "stride": (1, 3)},
    {"padding_mode": "reflect"},
    {"padding_mode": "circular", "padding": "same", "kernel_size": 4},
]


def stock_conv(in_c=6, out_c=34, seed=0, **options) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(in_c, out_c, **{"kernel_size": 3, "padding": 1, **options}).eval()


def error_of(out: torch.Tensor, expected: torch.Tensor) -> float:
    return float((out.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_computes_what_the_stock_layer_does(options, memory_format, static):
    stock, x = stock_conv(**options), make((2, 6, 11, 12), 1).contiguous(memory_format=memory_format)
    module = Int8Conv2d.from_module(stock, **({"input_range": (-1, 1)} if static else {}))
    with torch.inference_mode():
        out, expected = module(x), stock(x)
        # Uniform values rounded to 1/255 of their range and weights to 1/254 of theirs: each adds steps / sqrt(12) of
        # error to values of range / sqrt(12), together 2^0.5 / 255 of the result; weights of a channel of few vary.
        assert error_of(out, expected) < 0.01
        assert out.stride() == expected.stride()
        assert module(x[0]).shape == stock(x[0]).shape  # no batch


@needs_kernels
def test_is_the_op_on_its_buffers():
    module, x = Int8Conv2d.from_module(stock_conv(stride=2), activation="silu"), make((2, 6, 9, 9))
    skip = make((2, 34, 5, 5), 3)
    expected = gk.ops.int8_conv2d(
        x,
        module.weight_int8,
        None,
        module.weight_scale,
        bias=module.bias,
        stride=2,
        padding=1,
        activation="silu",
        skip=skip,
        skip_scale=0.5,
    )
    with torch.no_grad():
        assert torch.equal(module(x, skip, 0.5), expected)
        assert torch.equal(module(x[0], skip[0], skip_scale=0.5), module(x[:1], skip[:1], 0.5)[0])


def test_answers_as_a_conv2d():
    stock = stock_conv(stride=(1, 2), groups=2, padding=(0, 1))
    module = Int8Conv2d.from_module(stock)
    assert isinstance(module, nn.Conv2d)
    names = (
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        "in_channels",
        "out_channels",
    )
    for name in names:
        assert getattr(module, name) == getattr(stock, name)
    steps = module.weight_scale.reshape(-1, 1, 1, 1)
    assert ((module.weight - stock.weight).abs() <= steps * 0.5001).all()


@pytest.mark.parametrize(("kind", "param"), [("leaky_relu", 0.2), ("prelu", torch.rand(34)), ("relu", None)])
def test_activations_and_the_way_back(kind, param):
    stock, x = stock_conv(), make((1, 6, 8, 8))
    module = Int8Conv2d.from_module(stock, activation=kind, activation_param=param)
    back = module.to_module()
    assert type(back[0]) is nn.Conv2d
    with torch.no_grad():
        slopes = None if param is None else torch.as_tensor(param).reshape(-1)
        assert error_of(module(x), activations.apply(kind, stock(x), slopes)) < 0.01
        assert error_of(module(x), back(x)) < 0.01


@pytest.mark.parametrize(
    ("stock", "message"),
    [
        (nn.Conv2d(4, 4, 3, dtype=torch.float64), "got dtype=torch.float64"),
        (nn.Conv1d(4, 4, 3), "type must be torch.nn.modules.conv.Conv2d, got type=Conv1d"),
        (nn.Linear(4, 4), "type must be torch.nn.modules.conv.Conv2d, got type=Linear"),
    ],
)
def test_rejects_what_it_cannot_replace(stock, message):
    with pytest.raises(ValueError, match=message):
        Int8Conv2d.from_module(stock)


def test_rejects_weights_and_ranges_that_are_not_finite():
    stock = stock_conv()
    with torch.no_grad():
        stock.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="weight must be finite"):
        Int8Conv2d.from_module(stock)
    with pytest.raises(ValueError, match="input_range must be two finite numbers"):
        Int8Conv2d(3, 4, 3, input_range=(0.0, float("inf")))


@pytest.mark.parametrize("options", [{}, {"input_range": (-3, 3), "activation": "relu"}])
def test_copies_pickles_and_state_dicts_give_the_same(options):
    module, x = Int8Conv2d.from_module(stock_conv(groups=2), **options), make((2, 6, 8, 8))
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    loaded = Int8Conv2d(6, 34, 3, padding=1, groups=2, activation=options.get("activation"))
    loaded.load_state_dict(torch.load(buffer, weights_only=True))
    stock_state = Int8Conv2d(6, 34, 3, padding=1, groups=2, **options)
    stock_state.load_state_dict(stock_conv(groups=2).state_dict())
    with torch.inference_mode():
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded, stock_state):
            assert torch.equal(other(x), module(x))


def test_half_precision_is_that_of_the_input():
    module, x = Int8Conv2d.from_module(stock_conv()), make((1, 6, 8, 8))
    with torch.no_grad():
        expected = module(x.bfloat16())
        assert expected.dtype == torch.bfloat16
        assert module.bfloat16().weight_scale.dtype == torch.float32
        assert torch.equal(module(x.bfloat16()), expected)


def test_falls_back_and_says_so(caplog):
    module, x = Int8Conv2d.from_module(stock_conv(stride=2)), make((2, 6, 8, 8))
    with caplog.at_level(logging.WARNING, "greenkernels"):
        out = module(x.clone().requires_grad_())
    expected = F.conv2d(x, module.weight, module.bias, 2, 1)
    torch.testing.assert_close(out.detach(), expected)
    assert module.fallbacks == {"input.requires_grad=True": 1}
    assert "runs torch's convolution: input.requires_grad=True" in caplog.text
    strict = Int8Conv2d.from_module(stock_conv(), strict=True)
    with pytest.raises(RuntimeError, match="Int8Conv2d: strict=True forbids the fallback"):
        strict(x.requires_grad_())
    meta = copy.deepcopy(module).to("meta")
    assert meta(x.detach().to("meta")).shape == (2, 34, 4, 4)


@needs_kernels
def test_compiles_and_exports():
    module, x = Int8Conv2d.from_module(stock_conv(padding="same"), activation="gelu"), make((2, 6, 9, 8))
    with torch.no_grad():
        expected = module(x)
        compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
        torch.testing.assert_close(compiled(x), expected)
        torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_reads_convolutions_of_torch_ao():
    if "onednn" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no quantized convolution")
    stock, x = stock_conv(stride=2, groups=2), make((2, 6, 9, 9))
    scale = stock.weight.detach().abs().amax((1, 2, 3)).double() / 127
    quantized = torch.ao.nn.quantized.Conv2d(6, 34, 3, 2, 1, groups=2)
    values = torch.quantize_per_channel(stock.weight.detach(), scale, torch.zeros(34).long(), 0, torch.qint8)
    quantized.set_weight_bias(values, stock.bias.detach())
    module = Int8Conv2d.from_module(quantized)
    assert torch.equal(module.weight_int8, values.int_repr())
    with torch.no_grad():
        assert error_of(module(x), stock(x)) < 0.01


def test_says_what_it_is():
    text = repr(Int8Conv2d(16, 40, 3, stride=2, activation="relu", input_range=(0, 1)))
    assert text == (
        "Int8Conv2d(16, 40, kernel_size=(3, 3), stride=(2, 2), input=static, activation=relu, packed_bytes=9472)"
    )


def test_counts():
    module = Int8Conv2d.from_module(stock_conv(groups=2, stride=2))
    counts = count(module, (2, 6, 8, 8)).counts
    weights = module.packed.numel() + 2 * 34 * 4
    assert counts.flops == 2 * (2 * 4 * 4) * 2 * 32 * 27  # 17 channels a group in a panel of 32
    assert (counts.bytes_read, counts.bytes_written) == (2 * 6 * 64 * 4 + weights, 2 * 34 * 16 * 4)
    assert (counts.weight_bytes, counts.dtype) == (weights, "int8")
    counted = count(module, (2, 5, 8, 8))
    assert counted.counts is None
    assert "input must be [batch, 6, h, w]" in counted.reason


# --- in a plan


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, 2), nn.Conv2d(64, 3, 1)
    ).eval()


@needs_kernels
def test_a_plan_takes_it_where_it_is_asked_for(network, monkeypatch):
    monkeypatch.setattr(torch.ops.greenkernels, "vnni", lambda: True)
    x = torch.randn(1, 16, 12, 12)
    options = {"measure": False, "progress": False, "cache": False}
    assert all(layer.stem != "int8_conv2d" for layer in gk.plan(network, x, **options).layers)
    made = gk.plan(network, x, precision={"int8_conv2d"}, max_error=0.05, **options)
    assert [layer.stem for layer in made.layers] == ["int8_conv2d", "int8_conv2d", None]
    assert "too few products" in made.layers[2].reason
    fast = made.apply(network)
    assert fast[0].activation == "relu"
    with torch.inference_mode():
        assert error_of(fast(x), network(x)) <= 0.05
    assert type(gk.restore(fast)[0]) is nn.Conv2d


def test_candidate_bounds_its_memory_and_names_what_it_refuses(network):
    stem = candidates.named("int8_conv2d")
    conv, shape = network[2], torch.Size((2, 64, 30, 30))
    module = stem.build(conv, {}, None)
    assert stem.extra_bytes(conv, {}) == module.packed.numel() + 8 * 64
    assert stem.scratch_bytes(conv, {}, [shape]) > 2 * 64 * 30 * 30
    assert "groups=32 leave fewer than 16 output channels" in stem.refuses(nn.Conv2d(64, 64, 3, groups=32))
    assert "got dtype=torch.float64" in stem.refuses(nn.Conv2d(4, 4, 3).double())
    assert stem.refuses(nn.Conv2d(4, 4, 3, padding="same", padding_mode="reflect")) is None
