"""StrassenConv2d against nn.Conv2d, the op's registration and its errors, and what gk.plan makes of it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, COMPILED, FORMATS, assert_close, make, needs_kernels
from direct_cases import tolerance
from op_errors import assert_message, message_of
from torch import nn

import greenkernels as gk
from greenkernels.energy import count
from greenkernels.nn import StrassenConv2d
from greenkernels.ops.strassen_conv2d_op import (
    conv,
    conv_out,
    conv_plain,
    pack,
    packed_conv,
    packed_conv_out,
    packed_plain,
)
from greenkernels.planning import candidates


def pair(in_c=6, out_c=8, *, training=False, **options) -> tuple[nn.Conv2d, StrassenConv2d]:
    stock = nn.Conv2d(in_c, out_c, 1, **options).train(training)
    return stock, StrassenConv2d.from_module(stock)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"dtype": torch.float64}, {"dtype": torch.bfloat16}, {"dilation": 2}]
)
def test_computes_what_the_stock_module_does(options, memory_format):
    for training in (False, True):
        stock, module = pair(training=training, **options)
        x = make((2, 6, 11, 12), 1, options.get("dtype", torch.float32), memory_format)
        for view in (x, x[:, :, ::2]):
            out, expected = module(view), stock(view)
            bound = 2 * tolerance(expected, view, stock.weight, stock.bias)  # each is off by as much at most
            assert_close(out, expected.double(), bound)
            assert out.stride() == expected.stride()
        assert module(x[0]).shape == stock(x[0]).shape  # no batch
        assert not (module.fallbacks and COMPILED)


@pytest.mark.parametrize("levels", [0, 2])
def test_folded_norm_skip_and_activation(levels):
    stock, norm = nn.Conv2d(20, 33, 1).eval(), nn.BatchNorm2d(33).eval()
    norm.running_mean, norm.running_var = make((33,)), make((33,), 1) + 2
    module = StrassenConv2d.from_module(stock, levels=levels, activation="relu").follow(norm)
    x, skip = make((2, 20, 5, 7)), make((2, 33, 5, 7), 3)
    with torch.no_grad():
        expected = torch.relu(norm(stock(x)) + 0.5 * skip)
        torch.testing.assert_close(module(x, skip, 0.5), expected, rtol=1e-4, atol=1e-4)


def test_answers_as_a_conv2d():
    stock, module = pair()
    assert isinstance(module, nn.Conv2d)
    assert module.weight is stock.weight
    assert list(module.state_dict()) == ["weight", "bias"]
    assert type(module.to_module()) is nn.Conv2d
    assert type(StrassenConv2d(3, 4, levels=1).to_module()) is nn.Conv2d


@needs_kernels
def test_repr_states_options_and_packed_bytes():
    module = StrassenConv2d.from_module(nn.Conv2d(16, 40, 1, bias=False).eval(), levels=1)
    size = gk.ops.strassen_conv2d_pack(module.weight.detach(), 1).numel() * 4
    text = "StrassenConv2d(16, 40, kernel_size=(1, 1), stride=(1, 1), bias=False, levels=1, "
    assert repr(module) == f"{text}packed_bytes={size})"


@pytest.mark.parametrize(
    ("stock", "message"),
    [
        (nn.Conv2d(4, 4, 3), r"kernel_size must be \(1, 1\), got kernel_size=\(3, 3\)"),
        (nn.Conv2d(4, 4, 1, stride=2), r"stride must be \(1, 1\), got stride=\(2, 2\)"),
        (nn.Conv2d(4, 4, 1, padding=1), r"padding must be \(0, 0\), got padding=\(1, 1\)"),
        (nn.Conv2d(4, 4, 1, groups=2), "groups must be 1, got groups=2"),
        (nn.Conv1d(4, 4, 1), "type must be torch.nn.modules.conv.Conv2d, got type=Conv1d"),
    ],
)
def test_from_module_names_what_it_cannot_replace(stock, message):
    with pytest.raises(ValueError, match=message):
        StrassenConv2d.from_module(stock)


def test_rejects_levels():
    with pytest.raises(ValueError, match="levels must be 0 to 3, got 4"):
        StrassenConv2d(4, 4, levels=4)
    with pytest.raises(ValueError, match="levels must be 0 to 3, got 'auto'"):
        StrassenConv2d(4, 4, levels="auto")


@needs_kernels
def test_the_packed_weight_is_never_stale():
    _, module = pair()
    x = make((2, 6, 9, 8))
    with torch.no_grad():
        module(x)
        module.weight.mul_(2)
        torch.testing.assert_close(module(x), F.conv2d(x, module.weight, module.bias))
        module.stride = (2, 2)  # not the kernel's any more
        torch.testing.assert_close(module(x), F.conv2d(x, module.weight, module.bias, 2))
    assert module.fallbacks == {"stride=(2, 2)": 1}


@pytest.mark.parametrize("training", [False, True])
def test_compiles_and_exports(training):
    _, module = pair(training=training)
    x = make((2, 6, 9, 8))
    expected = module(x)
    torch.testing.assert_close(torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)(x), expected)
    torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), expected)


def test_falls_back_on_other_devices():
    _, module = pair()
    meta = copy.deepcopy(module).to("meta")
    assert meta(make((2, 6, 8, 8)).to("meta")).shape == (2, 8, 8, 8)
    assert meta.fallbacks == {"input.device=meta": 1}


# --- the op


def sample(activation=None, requires_grad=False):
    x, weight, bias = make((2, 4, 6, 7), 1), make((6, 4, 1, 1), 2), make((6,), 3)
    param = make((6,), 4) if activation == "prelu" else None
    skip = make((2, 6, 6, 7), 5)
    for tensor in (x, weight, bias, param, skip):
        if tensor is not None:
            tensor.requires_grad_(requires_grad)
    return x, weight, bias, 1, activation, param, skip, 0.5


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("activation", [None, "relu", "prelu", "gelu"])
def test_opcheck(activation, requires_grad):
    torch.library.opcheck(conv, sample(activation, requires_grad))
    x, weight, bias, *options = sample(activation, requires_grad)
    torch.library.opcheck(packed_conv, (x, pack(weight.detach(), 1), bias, 6, *options))


def test_opcheck_of_the_other_variants():
    x, weight, bias, *options = sample("relu")
    torch.library.opcheck(pack, (weight, 1))
    out = torch.empty(2, 6, 6, 7)
    torch.library.opcheck(conv_out, (x, weight, bias, *options), {"out": out})
    torch.library.opcheck(packed_conv_out, (x, pack(weight, 1), bias, 6, *options), {"out": out})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({0: make((4, 6, 7))}, "input must be 4-D, got shape [4, 6, 7]"),
        ({1: make((6, 4))}, "weight must be 4-D, got shape [6, 4]"),
        (
            {1: make((6, 5, 1, 1))},
            "weight must be [out_channels, 4, 1, 1] for input [2, 4, 6, 7], got [6, 5, 1, 1]",
        ),
        (
            {1: make((6, 4, 1, 3))},
            "weight must be [out_channels, 4, 1, 1] for input [2, 4, 6, 7], got [6, 4, 1, 3]",
        ),
        ({1: make((6, 4, 1, 1), dtype=torch.float64)}, "weight must be float32 as input is, got float64"),
        ({2: make((5,))}, "bias must have 6 elements, got 5"),
        ({3: 4}, "levels must be 0 to 3, got 4"),
        ({4: "prelu"}, "activation_param must be a tensor for prelu, got None"),
        ({6: make((2, 6, 6, 6))}, "skip must have shape [2, 6, 6, 7], got [2, 6, 6, 6]"),
    ],
)
def test_rejects(changes, message):
    args = [changes.get(i, arg) for i, arg in enumerate(sample())]
    assert_message(f"strassen_conv2d: {message}", conv, conv_plain, args)
    out = torch.empty(2, 6, 6, 7)
    assert message_of(conv_out, args, out=out) == f"strassen_conv2d: {message}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({1: torch.zeros(2, 112)}, "packed must be 1-D and contiguous, got shape [2, 112]"),
        ({1: torch.zeros(99)}, "packed must have 224 elements for 4 -> 6 channels and levels 1, got 99"),
        ({3: -1}, "out_channels must be in [0, 2^31), got -1"),
        ({4: -1}, "levels must be 0 to 3, got -1"),
    ],
)
def test_packed_rejects(changes, message):
    x, weight, bias, *options = sample()
    args = [changes.get(i, arg) for i, arg in enumerate([x, pack(weight, 1), bias, 6, *options])]
    assert_message(f"strassen_conv2d_packed: {message}", packed_conv, packed_plain, args)


@pytest.mark.parametrize(
    ("weight", "levels", "message"),
    [
        (make((4, 3)), 1, "weight must be 4-D, got shape [4, 3]"),
        (make((4, 3, 2, 1)), 0, "weight must be [out_channels, in_channels, 1, 1], got [4, 3, 2, 1]"),
        (make((4, 3, 1, 1)), 9, "levels must be 0 to 3, got 9"),
    ],
)
def test_pack_rejects(weight, levels, message):
    assert message_of(pack, [weight, levels]) == f"strassen_conv2d_pack: {message}"
    assert message_of(pack, [weight.to("meta"), levels]) == f"strassen_conv2d_pack: {message}"


# --- counts, and in a plan


@needs_kernels
def test_counts_are_those_of_the_product():
    module = StrassenConv2d.from_module(nn.Conv2d(20, 24, 1).eval(), activation="relu")
    plain = count(module, (2, 20, 5, 7)).counts
    assert plain.flops == 2 * 70 * 20 * 32 + 70 * 24  # columns are rounded up to 32
    assert plain.weight_bytes == 4 * (20 * 32 + 24)
    with_skip = module.counts((2, 20, 5, 7), (2, 24, 5, 7))
    assert with_skip.flops == plain.flops + 2 * 70 * 24


def test_is_a_candidate_of_pointwise_layers():
    stem = candidates.named("strassen_conv2d")
    stock = nn.Conv2d(16, 24, 1).eval()
    assert stem.refuses(stock) is None
    assert "kernel_size must be" in stem.refuses(nn.Conv2d(16, 24, 3))
    assert [o["levels"] for o in stem.options(stock)] == [0]
    assert [o["levels"] for o in stem.options(nn.Conv2d(1024, 2048, 1, device="meta"))] == [0, 1]
    module = stem.build(stock, {"levels": 0}, candidates.FusedActivation("1", "relu"))
    x = make((1, 16, 12, 12))
    torch.testing.assert_close(module(x), F.relu(stock(x)), rtol=1e-5, atol=1e-5)
    packed = gk.ops.strassen_conv2d_pack(stock.weight.detach())
    assert stem.extra_bytes(stock, {"levels": 0}) == packed.numel() * packed.element_size()
    assert "only a measurement" in stem.cold_start(stock, [x.shape])
    wide = nn.Conv2d(2048, 2048, 1, device="meta")
    assert stem.cold_start(wide, [torch.Size((2, 2048, 32, 32))]) == {"levels": 1}
