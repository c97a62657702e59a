"""Networks of every kind that users bring: refused with what to do, or planned without losing anything of theirs."""

import dataclasses
import warnings
from collections import OrderedDict

import pytest
import torch
from quick_kernel import OPTIONS, QuickConv2d, X, conv, net, quick_kernel, why  # noqa: F401
from torch import nn

from greenkernels.planning import candidates, optimize, plan, restore

pytestmark = pytest.mark.usefixtures("quick_kernel")


class Holder(nn.Module):
    """A convolution, and what `wrap` makes of its output."""

    def __init__(self, wrap=lambda y: y):
        super().__init__()
        self.conv, self.wrap = conv(8, 8), wrap

    def forward(self, x):
        return self.wrap(self.conv(x))


# --- refused, with what to do


def compiled():
    return torch.compile(net(conv(8, 8)))


def compiled_in_place():
    model = net(conv(8, 8))
    model[0].compile()
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (compiled, "must not be compiled yet, but it is; convert the network first"),
        (compiled_in_place, "must not be compiled yet, but its module '0' is"),
        (
            lambda: torch.jit.trace(net(nn.ReLU()), X),
            "whose layers are fixed; convert the network that it was made",
        ),
        (
            lambda: nn.DataParallel(net(conv(8, 8))).eval(),
            "must not be wrapped, but it is a DataParallel; give its",
        ),
        (lambda: net(nn.LazyConv2d(8, 3)), "must be initialised, but weight of its module '0' is not; call"),
        (lambda: "resnet", "model must be an nn.Module, got str"),
        (
            lambda: torch.export.export(net(nn.ReLU()), (X,)),
            "got an ExportedProgram; give greenkernels.planning.from",
        ),
        (lambda: net(conv(8, 8)).train(), "must be in eval mode, got Sequential in training mode"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        plan(make(), X, **OPTIONS)


def test_refuses_an_output_without_tensors():
    with pytest.raises(
        ValueError, match="the output of model must hold tensors, to be compared by, got float"
    ):
        plan(Holder(lambda y: float(y.sum())).eval(), X, **OPTIONS)


# --- planned


def test_scripted_part_is_left_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(net(nn.Conv2d(8, 8, 1)), X)
    made = plan(net(conv(8, 8), scripted), X, **OPTIONS)
    assert [layer.names for layer in made.layers] == [("0",)]
    assert made.accepted


@dataclasses.dataclass
class Output:
    y: torch.Tensor
    text: str = "kept"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: {"y": y},
        lambda y: OrderedDict(y=y),
        lambda y: [y, (y, None)],
        lambda y: Output(y),
    ],
    ids=["dict", "OrderedDict", "nested", "dataclass"],
)
@pytest.mark.parametrize("memory_format", ["as given", "channels_last"])
def test_outputs_of_every_form(wrap, memory_format):
    model = Holder(wrap).eval()
    made = plan(model, X, **OPTIONS)
    assert made.accepted
    assert made.network.error > 0  # the tensors within were found and compared
    made.memory_format = memory_format
    fast = made.apply(model)
    with torch.inference_mode():
        out, expected = fast(X), model(X)
    assert type(out) is type(expected)
    if isinstance(out, Output):
        assert out.text == "kept"
        assert out.y.is_contiguous()


def test_an_error_within_a_dataclass_is_seen():
    made = plan(Holder(Output).eval(), X, max_error=1e-7, **OPTIONS)
    assert not made.accepted


def test_networks_on_another_device_stay():
    with torch.device("meta"):
        model = net(conv(8, 8))
    made = plan(model, X.to("meta"), **OPTIONS)
    assert made.layers[0].reason == "no kernel for nn.Conv2d runs on meta"
    assert not made.accepted


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types(dtype):
    made = plan(net(conv(8, 8)).to(dtype), X.to(dtype), max_error=0.1, **OPTIONS)
    assert made.accepted
    assert made.apply(net(conv(8, 8)).to(dtype))(X.to(dtype)).dtype is dtype


def test_inputs_that_require_grad_are_left_as_they_are():
    x = X.clone().requires_grad_()
    fast = optimize(net(conv(8, 8)), x, **OPTIONS)
    assert x.grad is None
    assert x.is_leaf
    fast(x).sum().backward()
    assert x.grad is not None


def test_quantized_layers_are_left_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = net(conv(8, 8), nn.Flatten(), nn.Linear(8 * 9 * 11, 4))
        model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}).eval()
        made = plan(model, X, **OPTIONS)
        assert [layer.kernel for layer in made.layers] == ["quick tile=4"]
        assert type(made.apply(model)[2]) is type(model[2])


def test_linear_layers_are_listed_with_why_they_stay():
    kernels, reasons = why(net(conv(8, 8), nn.Flatten(), nn.Linear(8 * 9 * 11, 4)))
    assert kernels == {"0": "quick tile=4", "2": "stock"}
    assert reasons["2"] == "precision leaves out the kernels for nn.Linear"


def test_a_kernel_for_linear_layers_needs_its_file_alone(monkeypatch):
    class QuickLinear(nn.Linear):
        __module__ = "greenkernels.nn.quick"

        def to_module(self):
            stock = nn.Linear(self.in_features, self.out_features)
            stock.weight, stock.bias = self.weight, self.bias
            return stock

    def build(stock, options, activation):
        made = QuickLinear(stock.in_features, stock.out_features)
        made.weight, made.bias = stock.weight, stock.bias
        return made

    stem = candidates.Stem(
        name="quick_linear",
        replaces=nn.Linear,
        lossy=False,
        activations=frozenset(),
        refuses=lambda m: None if m.in_features > 1 else "in_features=1",
        options=lambda m: [{}],
        build=build,
        extra_bytes=lambda m, options: 0,
        cold_start=lambda m, shapes: {},
    )
    monkeypatch.setattr(candidates, "registered", lambda: (stem,))
    monkeypatch.setattr("greenkernels.planning.survey.registered", lambda: (stem,))
    made = plan(
        net(nn.Linear(4, 4), nn.Linear(4, 1), nn.Linear(1, 2)), torch.randn(3, 4), measure=False, **OPTIONS
    )
    assert [layer.kernel for layer in made.layers] == ["quick_linear", "quick_linear", "stock"]
    assert made.layers[2].reason == "in_features=1"


def test_attention_reads_its_projection_and_says_so():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    _, reasons = why(layer, torch.randn(2, 3, 8))
    assert set(reasons) == {"self_attn.out_proj", "linear1", "linear2"}


# --- proof that replacements run


def test_a_replacement_that_is_not_called_is_taken_back():
    class ReadsWhereReplaced(nn.Module):
        """Calls the stock layer, but only reads the weight of any other class, as torch's fast paths do."""

        def __init__(self):
            super().__init__()
            self.a, self.b = conv(8, 8), conv(8, 8)

        def forward(self, x):
            if type(self.a) is nn.Conv2d:
                return self.b(self.a(x))
            return self.b(nn.functional.conv2d(x, self.a.weight, self.a.bias, padding=1))

    kernels, reasons = why(ReadsWhereReplaced().eval())
    assert kernels == {"a": "stock", "b": "quick tile=4"}
    assert "never called: something reads its weight instead" in reasons["a"]


def test_watching_leaves_no_trace():
    model = net(conv(8, 8), nn.ReLU())
    own = lambda x: x  # noqa: E731
    model[1].forward = own
    plan(model, X, **OPTIONS)
    fast = optimize(model, X, **OPTIONS)
    assert model[1].__dict__["forward"] is own
    assert "forward" not in model[0].__dict__
    assert "forward" not in fast[0].__dict__


@pytest.mark.parametrize("memory_format", ["as given", "channels_last"])
def test_restore_is_exact(memory_format):
    model = net(conv(8, 8), nn.ReLU(inplace=True), conv(8, 8, bias=False), nn.Flatten(), nn.Linear(8 * 99, 3))
    made = plan(model, X, **OPTIONS)
    made.memory_format = memory_format
    back = restore(made.apply(model))
    assert repr(back) == repr(model)
    assert list(back.state_dict()) == list(model.state_dict())
    for mine, theirs in zip(back.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.stride() == theirs.stride()
    with torch.inference_mode():
        assert torch.equal(back(X), model(X))
    assert not back._forward_hooks
    assert not hasattr(back, "greenkernels_plan")
