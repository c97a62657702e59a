"""DepthwiseConv2d against nn.Conv2d, and what gk.plan makes of it."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, COMPILED, FORMATS, assert_close, make, needs_kernels
from direct_cases import tolerance
from torch import nn

import greenkernels as gk
from greenkernels.nn import DepthwiseConv2d
from greenkernels.ops import activation as activations
from greenkernels.planning import candidates

OPTIONS = [
    {},
    {"bias": False, "stride": 2},
    {"kernel_size": 1, "padding": 0},
    {"kernel_size": (2, 5), "padding": "same"},
    {"kernel_size": 4, "padding": "same", "dilation": (1, 2)},
    {"padding": "valid", "dilation": 2},
    {"stride": (1, 3)},
    {"padding_mode": "reflect"},
    {"padding_mode": "circular", "padding": "same", "kernel_size": 4},
    {"dtype": torch.float64, "stride": 2},
    {"dtype": torch.bfloat16},
]


def pair(channels=6, *, training=False, **options) -> tuple[nn.Conv2d, DepthwiseConv2d]:
    arguments = {"kernel_size": 3, "padding": 1, **options}
    stock = nn.Conv2d(channels, channels, groups=channels, **arguments).train(training)
    return stock, DepthwiseConv2d.from_module(stock)


def assert_same(module, stock, x):
    out, expected = module(x), stock(x)
    bound = 2 * tolerance(expected, x, stock.weight, stock.bias)  # each of the two is off by as much at most
    assert_close(out, expected.double(), bound)
    assert out.stride() == expected.stride()


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_computes_what_the_stock_module_does(options, memory_format):
    for training in (False, True):
        stock, module = pair(training=training, **options)
        x = make((2, 6, 11, 12), 1, options.get("dtype", torch.float32), memory_format)
        assert_same(module, stock, x)
        with torch.inference_mode():
            assert_same(module, stock, x)
            assert_same(module, stock, x[:, :, ::2])
        assert module(x[0]).shape == stock(x[0]).shape  # no batch
        assert not (module.fallbacks and COMPILED)


def test_answers_as_a_conv2d():
    stock, module = pair(stride=(1, 2))
    assert isinstance(module, nn.Conv2d)
    for name in ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"):
        assert getattr(module, name) == getattr(stock, name)
    assert module.weight is stock.weight
    assert list(module.state_dict()) == ["weight", "bias"]
    back = module.to_module()
    assert type(back) is nn.Conv2d
    assert back.weight is stock.weight
    assert torch.equal(back(make((1, 6, 6, 6))), stock(make((1, 6, 6, 6))))


@needs_kernels
def test_repr_states_packed_bytes():
    _, module = pair(40, kernel_size=3, padding=0, bias=False)
    assert repr(module) == (
        "DepthwiseConv2d(40, 40, kernel_size=(3, 3), stride=(1, 1), groups=40, bias=False, packed_bytes=1728)"
    )


@pytest.mark.parametrize("name", activations.NAMES)
def test_activation_and_skip(name):
    param = make((6,), 2) if name == "prelu" else 0.3 if name == "leaky_relu" else None
    stock = nn.Conv2d(6, 6, 3, stride=2, groups=6).eval()
    module = DepthwiseConv2d.from_module(stock, activation=name, activation_param=param)
    x, skip = make((2, 6, 9, 9)), make((2, 6, 4, 4), 3)
    slopes = torch.tensor([0.3]) if name == "leaky_relu" else param
    expected = activations.apply(name, stock(x) + 0.5 * skip, slopes)
    torch.testing.assert_close(module(x, skip, 0.5), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(module(x[0], skip[0], skip_scale=0.5), expected[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(module(x), module.to_module()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("stock", "message"),
    [
        (nn.Conv2d(4, 4, 3, groups=4, dtype=torch.complex64), "got dtype=torch.complex64"),
        (nn.Conv2d(4, 4, 3, groups=2), "groups must be in_channels, 4, got groups=2"),
        (nn.Conv2d(4, 8, 3, groups=4), "out_channels must be in_channels, 4, got out_channels=8"),
        (nn.Conv1d(4, 4, 3), "type must be torch.nn.modules.conv.Conv2d, got type=Conv1d"),
        (nn.ConvTranspose2d(4, 4, 3), "type must be torch.nn.modules.conv.Conv2d, got type=ConvTranspose2d"),
    ],
)
def test_from_module_names_what_it_cannot_replace(stock, message):
    with pytest.raises(ValueError, match=message):
        DepthwiseConv2d.from_module(stock)


@needs_kernels
def test_the_packed_weight_is_never_stale():
    _, module = pair(stride=2)
    x = make((2, 6, 9, 8))
    changes = [
        lambda: module.weight.mul_(2),
        lambda: setattr(module, "weight", nn.Parameter(make((6, 1, 3, 3), 9))),
        lambda: module.load_state_dict({"weight": make((6, 1, 3, 3), 7), "bias": make((6,), 8)}),
        lambda: (module.weight.data.mul_(3), module.repack()),
        lambda: module.double().float(),
    ]
    with torch.no_grad():
        module(x)
        for change in changes:
            change()
            expected = F.conv2d(x, module.weight, module.bias, 2, 1, 1, 6)
            torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-4)


def test_survives_copies_and_files():
    _, module = pair(stride=2)
    x = make((2, 6, 8, 8))
    buffer = io.BytesIO()
    torch.save(module, buffer)
    loaded = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    with torch.inference_mode():
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded):
            assert torch.equal(other(x), module(x))


@pytest.mark.parametrize("training", [False, True])
def test_compiles_and_exports(training):
    _, module = pair(stride=2, training=training)
    x = make((2, 6, 9, 8))
    expected = module(x)
    torch.testing.assert_close(torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)(x), expected)
    program = torch.export.export(module, (x,))
    torch.testing.assert_close(program.module()(x), expected)


def test_falls_back_on_other_devices():
    _, module = pair(stride=2)
    meta = copy.deepcopy(module).to("meta")
    assert meta(make((2, 6, 8, 8)).to("meta")).shape == (2, 6, 4, 4)
    assert meta.fallbacks == {"input.device=meta": 1}
    with pytest.raises(RuntimeError, match="DepthwiseConv2d: strict=True forbids the fallback"):
        DepthwiseConv2d.from_module(nn.Conv2d(6, 6, 3, groups=6), strict=True).to("meta")(
            make((2, 6, 8, 8)).to("meta")
        )


# --- in a plan


def test_is_a_candidate_of_depthwise_layers():
    stem = candidates.named("depthwise_conv2d")
    stock = nn.Conv2d(24, 24, 5, stride=2, padding=2, groups=24).eval()
    assert stem.refuses(stock) is None
    module = stem.build(stock, {}, candidates.FusedActivation("1", "relu6"))
    x = make((1, 24, 11, 11))
    torch.testing.assert_close(module(x), F.relu6(stock(x)), rtol=1e-5, atol=1e-5)
    packed = gk.ops.depthwise_conv2d_pack(stock.weight.detach())
    assert stem.extra_bytes(stock, {}) == packed.numel() * packed.element_size()
    assert "memory format" in stem.cold_start(stock, [x.shape])  # NCHW may lose
    staged = (11 + 4) * (11 + 4) * 4
    assert staged < stem.scratch_bytes(stock, {}, [x.shape]) < torch.get_num_threads() * (1 << 18)


def test_is_no_candidate_for_other_layers():
    stem = candidates.named("depthwise_conv2d")
    assert stem.refuses(nn.Conv2d(32, 32, 3)) == "groups must be in_channels, 32, got groups=1"
    assert "type must be" in stem.refuses(nn.ConvTranspose2d(4, 4, 3))
