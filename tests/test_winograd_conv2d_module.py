"""WinogradConv2d against nn.Conv2d: everything that people do with a module."""

import copy
import io
import logging
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from winograd_cases import (
    COMPILE_BACKEND,
    COMPILED,
    FORMATS,
    TILES,
    assert_close,
    make,
    needs_kernels,
    tolerance,
)

import greenkernels as gk
from greenkernels.nn import WinogradConv2d
from greenkernels.ops import activation as activations


def pair(in_c=5, out_c=7, *, training=False, tile=4, **options) -> tuple[nn.Conv2d, WinogradConv2d]:
    stock = nn.Conv2d(in_c, out_c, 3, **{"padding": 1, **options}).train(training)
    return stock, WinogradConv2d.from_module(stock, tile=tile)


def assert_same(module, stock, x, tile=4):
    out, expected = module(x), stock(x)
    bound = (
        tolerance(expected, x, stock.weight, tile, stock.bias) * 2
    )  # each of the two is off by as much at most
    assert_close(out, expected.double(), bound)
    assert out.stride() == expected.stride()


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"padding": 0},
        {"padding": (2, 0)},
        {"padding": "same"},
        {"padding": "valid"},
        {"padding_mode": "reflect"},
        {"padding_mode": "replicate", "padding": (1, 2)},
        {"padding_mode": "circular", "padding": "same"},
        {"dtype": torch.float64},
        {"dtype": torch.bfloat16},
    ],
)
def test_computes_what_the_stock_module_does(options, memory_format, tile):
    for training in (False, True):
        stock, module = pair(training=training, tile=tile, **options)
        x = make((2, 5, 11, 9), 1, options.get("dtype", torch.float32), memory_format)
        assert_same(module, stock, x, tile)
        with torch.inference_mode():
            assert_same(module, stock, x, tile)
            assert_same(module, stock, x[:, :, ::2], tile)
        assert module(x[0]).shape == stock(x[0]).shape  # no batch
        assert not (module.fallbacks and COMPILED)


def test_answers_as_a_conv2d():
    stock, module = pair(3, 4, padding=(1, 2))
    assert isinstance(module, nn.Conv2d)
    for name in (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
    ):
        assert getattr(module, name) == getattr(stock, name)
    assert module.weight is stock.weight
    assert module.bias is stock.bias
    assert list(module.state_dict()) == ["weight", "bias"]
    assert [name for name, _ in module.named_parameters()] == ["weight", "bias"]
    module.load_state_dict(stock.state_dict())
    stock.load_state_dict(module.state_dict())
    back = module.to_module()
    assert type(back) is nn.Conv2d
    assert back.weight is stock.weight
    assert back.bias is stock.bias
    x = make((1, 3, 6, 6))
    assert torch.equal(back(x), stock(x))
    assert back.training == stock.training


@needs_kernels
def test_repr_states_tile_and_packed_bytes():
    _, module = pair(16, 32, tile=6, bias=False)
    assert repr(module) == (
        "WinogradConv2d(16, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False, tile=6, "
        "packed_bytes=131072)"
    )
    assert repr(module.train()).endswith("tile=6, packed_bytes=0)")


@pytest.mark.parametrize("name", activations.NAMES)
def test_activation_and_skip(name):
    param = make((7,), 2) if name == "prelu" else 0.3 if name == "leaky_relu" else None
    stock = nn.Conv2d(5, 7, 3, padding=1).eval()
    module = WinogradConv2d.from_module(stock, activation=name, activation_param=param)
    x, skip = make((2, 5, 9, 9)), make((2, 7, 9, 9), 3)
    slopes = torch.tensor([0.3]) if name == "leaky_relu" else param
    expected = activations.apply(name, stock(x) + 0.5 * skip, slopes)
    torch.testing.assert_close(module(x, skip, 0.5), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(module(x[0], skip[0], skip_scale=0.5), expected[0], rtol=1e-5, atol=1e-5)
        restored = module.to_module()
        assert isinstance(restored, nn.Sequential)
        assert restored[0].weight is stock.weight
        torch.testing.assert_close(module(x), restored(x), rtol=1e-5, atol=1e-5)
    assert list(module.state_dict()) == ["weight", "bias", *(["activation_param"] if name == "prelu" else [])]


def test_constructor_takes_stock_arguments_and_trains():
    torch.manual_seed(0)
    model = nn.Sequential(
        WinogradConv2d(1, 8, 3, padding=1, activation="prelu"), WinogradConv2d(8, 1, 3, padding="same")
    )
    x, target = make((4, 1, 12, 12)), F.avg_pool2d(make((4, 1, 12, 12)), 3, 1, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        loss = F.mse_loss(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert model[0].activation_param.grad is not None
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(F.mse_loss(model(x), target).item(), losses[-1], rtol=0.2, atol=1e-3)


@pytest.mark.parametrize(
    ("stock", "message"),
    [
        (nn.Conv2d(4, 4, 3, stride=2), r"stride must be \(1, 1\), got stride=\(2, 2\)"),
        (nn.Conv2d(4, 4, 5), r"kernel_size must be \(3, 3\), got kernel_size=\(5, 5\)"),
        (nn.Conv2d(4, 4, 3, dilation=2), r"dilation must be \(1, 1\), got dilation=\(2, 2\)"),
        (nn.Conv2d(4, 4, 3, groups=4), r"groups must be 1, got groups=4"),
        (nn.Conv2d(4, 4, 3, dtype=torch.complex64), "got dtype=torch.complex64"),
        (nn.Conv1d(4, 4, 3), "type must be torch.nn.modules.conv.Conv2d, got type=Conv1d"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), "got type=ParametrizedConv2d"),
    ],
)
def test_from_module_names_what_it_cannot_replace(stock, message):
    with pytest.raises(ValueError, match=message):
        WinogradConv2d.from_module(stock)


def test_from_module_refuses_hooks_and_wrong_options():
    stock = nn.Conv2d(4, 4, 3)
    stock.register_forward_hook(lambda *args: None)
    with pytest.raises(ValueError, match="_forward_hooks must be empty"):
        WinogradConv2d.from_module(stock)
    with pytest.raises(ValueError, match="tile must be 2, 4 or 6, got 3"):
        WinogradConv2d(4, 4, tile=3)
    with pytest.raises(ValueError, match="activation_param must be None for activation='relu'"):
        WinogradConv2d(4, 4, activation="relu", activation_param=0.1)
    with pytest.raises(ValueError, match=r"got stride=\(2, 2\)"):
        WinogradConv2d(4, 4, 3, 2)


@needs_kernels
def test_wrong_input_raises_with_the_words_of_the_op():
    _, module = pair(5, 7)
    with torch.no_grad():
        for x, message in [
            (
                make((2, 4, 8, 8)),
                r"weight must be \[out_channels, 4, 3, 3\] for input \[2, 4, 8, 8\], got \[7, 5, 3, 3\]",
            ),
            (make((5, 8)), r"input must be 4-D, got shape \[5, 8\]"),
            (make((1, 5, 8, 8), dtype=torch.float64), "weight must be float64 as input is, got float32"),
        ]:
            with pytest.raises(RuntimeError, match=message):
                module(x)


def test_falls_back_counts_and_logs_once(caplog):
    _, module = pair(5, 7)
    strict = WinogradConv2d.from_module(module.to_module(), strict=True)
    for each in (module, strict):
        each.stride = (2, 2)
    x = make((2, 5, 8, 8))
    expected = F.conv2d(x, module.weight, module.bias, stride=2, padding=1)
    with caplog.at_level(logging.WARNING, logger="greenkernels"):
        assert torch.equal(module(x), expected)
        assert torch.equal(module(x), expected)
    assert module.fallbacks == {"stride=(2, 2)": 2}
    assert len(caplog.records) == 1
    assert "stride=(2, 2)" in caplog.text
    with pytest.raises(RuntimeError, match=r"strict=True forbids the fallback .* needed for stride=\(2, 2\)"):
        strict(x)


def test_other_devices_and_tensor_types_fall_back():
    _, module = pair(5, 7)
    meta = copy.deepcopy(module).to("meta")
    assert meta(make((2, 5, 8, 8)).to("meta")).shape == (2, 7, 8, 8)
    assert meta.fallbacks == {"input.device=meta": 1}

    class Tagged(torch.Tensor):
        pass

    x = make((2, 5, 8, 8))
    assert type(module(x.as_subclass(Tagged))) is Tagged
    assert module.fallbacks == {"input.type=Tagged": 1}


@pytest.mark.parametrize("training", [False, True])
def test_check_finite(training):
    module = WinogradConv2d(3, 4, padding=1, check_finite=True).train(training)
    x = make((1, 3, 8, 8))
    module(x)
    x[0, 1, 2, 3] = torch.inf
    with pytest.raises(RuntimeError, match="winograd_conv2d: input must be finite, got NaN or infinity"):
        module(x)
    with pytest.raises(RuntimeError, match="winograd_conv2d: input must be finite, got NaN or infinity"):
        torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)(x)


def test_survives_copies_and_files(tmp_path):
    stock, module = pair(5, 7, tile=6)
    module.fallbacks["x"] = 1
    x = make((2, 5, 8, 8))
    buffer = io.BytesIO()
    torch.save(module, buffer)
    copies = [
        copy.deepcopy(module),
        copy.copy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=False),
    ]
    with torch.inference_mode():
        for other in copies:
            assert torch.equal(other(x), module(x))
            assert other.packed is not module.packed or not COMPILED
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    fresh = WinogradConv2d(5, 7, padding=1, tile=6).eval()
    fresh.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(fresh(x), module(x))
    assert stock.state_dict().keys() == module.state_dict().keys()


def test_autocast_as_the_stock_module():
    stock, module = pair(5, 7)
    x = make((2, 5, 8, 8))
    for grad in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(grad):
            out, expected = module(x), stock(x)
            assert out.dtype == expected.dtype == torch.bfloat16
            # Weights, input and result are rounded to 8 bits on both sides; sums of 45 terms below 0.15.
            torch.testing.assert_close(out.float(), expected.float(), rtol=0, atol=45 * 0.15 * 2**-8)
            assert module(x.bfloat16()).dtype == torch.bfloat16
    assert not (module.fallbacks and COMPILED)


def test_runs_in_a_model_with_stock_layers():
    torch.manual_seed(0)
    stock = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)
    ).eval()
    model = copy.deepcopy(stock)
    model[0], model[3] = (WinogradConv2d.from_module(model[index]) for index in (0, 3))
    for memory_format in FORMATS:
        x = make((2, 3, 17, 19), memory_format=memory_format)
        with torch.inference_mode():
            torch.testing.assert_close(
                model.to(memory_format=memory_format)(x), stock(x), rtol=1e-5, atol=1e-5
            )
    assert gk.nn.WinogradConv2d is WinogradConv2d
