"""8-bit integers between layers of a planned network: where they are found, what bounds and times them."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from conv_cases import needs_kernels
from synthetic_clock import SyntheticClock
from torch import nn

import greenkernels as gk
from greenkernels.nn import Int8Linear
from greenkernels.planning import Plan

pytestmark = [needs_kernels, pytest.mark.usefixtures("_vnni")]

X = torch.randn(2, 64, 6, 6, generator=torch.Generator().manual_seed(1))
ROWS = torch.randn(16, 64, generator=torch.Generator().manual_seed(1))
# Planning checks shifted inputs too, which reach past the ranges of the example inputs.
OPTIONS = {"measure": False, "progress": False, "cache": False, "precision": "int8", "max_error": 0.3}


@pytest.fixture
def _vnni(monkeypatch):
    """The rule asks for the instructions; whether this CPU has them shall not decide the tests."""
    monkeypatch.setattr(torch.ops.greenkernels, "vnni", lambda: True)


class Calls(nn.Module):
    """Some layers, and a function of them."""

    def __init__(self, function, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x):
        return self.function(x, *self.layers)


def conv(out_c=64, **options):
    return nn.Conv2d(64, out_c, **({"kernel_size": 3, "padding": 1} | options))


def linears(count=2):
    return [nn.Linear(64, 64) for _ in range(count)]


def links(made: Plan) -> list[tuple[str, str]]:
    """Layers that give 8 bits, and to whom."""
    found = []
    for layer in made.layers:
        if "output_range" in layer.options:
            (reader,) = [
                other for other in made.layers if f"gives 8 bits to {other.names[0]}" in layer.reason
            ]
            assert reader.options["input_range"] == layer.options["output_range"]
            found.append((layer.names[0], reader.names[0]))
    return found


def planned(model, x, **options):
    """Links, and the converted network, checked against the stock one."""
    model = model.eval()
    made = gk.plan(model, x, **OPTIONS | options)
    fast = made.apply(model)
    with torch.inference_mode():
        assert (fast(x) - model(x)).norm() <= 0.05 * model(x).norm()
    return links(made), fast


def settled(norm):
    norm.running_var.uniform_(0.5, 2)
    return norm


def flat(x, a, b):
    return b(torch.flatten(a(x).relu(), 1))


@pytest.mark.parametrize(
    ("model", "x", "expected"),
    [
        (nn.Sequential(*linears(3)), ROWS, [("0", "1"), ("1", "2")]),
        (nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Dropout(), nn.Linear(64, 64)), ROWS, [("0", "3")]),
        (
            nn.Sequential(
                nn.Sequential(conv(), settled(nn.BatchNorm2d(64)), nn.ReLU()), nn.Sequential(conv())
            ),
            X,
            [("0.0", "1.0")],
        ),
        (
            nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 36, 64)),
            X,
            [("0", "3")],
        ),
        (Calls(lambda x, a, b: x + b(F.gelu(a(x))), *linears()), ROWS, [("layers.0", "layers.1")]),
        (Calls(flat, conv(), nn.Linear(64 * 36, 64)), X, [("layers.0", "layers.1")]),
    ],
)
def test_are_found_in_nested_modules_and_in_traced_forwards(model, x, expected):
    found, fast = planned(model, x)
    assert found == expected
    for twin in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast)) if "Calls" not in str(fast) else fast):
        with torch.inference_mode():
            assert torch.equal(twin(x), fast(x))
    assert "Int8" not in str(gk.restore(fast))


def test_annotations_that_are_strings_do_not_matter(monkeypatch):
    monkeypatch.setitem(Calls.forward.__annotations__, "return", "Tensor")
    found, _ = planned(Calls(lambda x, a, b: b(F.gelu(a(x))), *linears()), ROWS)
    assert found == [("layers.0", "layers.1")]


def both(x, a, b):
    y = a(x)
    return b(y) + y


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (Calls(both, *linears()), ROWS),  # somebody else reads it too
        (Calls(lambda x, a, b: b(2 * a(x)), *linears()), ROWS),  # something computes between
        (Calls(lambda x, a, b: b(b(a(x))), *linears()), ROWS),  # the reader reads other values too
        (nn.Sequential(nn.Linear(64, 64), nn.Softmax(-1), nn.Linear(64, 64)), ROWS),
        (nn.Sequential(conv(), nn.MaxPool2d(2), conv()), X),
        (
            nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(32, 64)),
            ROWS,
        ),  # a stock layer between
    ],
)
def test_need_one_reader_and_nothing_that_computes(model, x):
    found, _ = planned(model, x)
    assert ("layers.0", "layers.1") not in found
    assert ("0", "2") not in found


def test_a_link_that_breaks_a_bound_is_taken_back_and_says_why():
    torch.manual_seed(0)
    model = nn.Sequential(*linears(3)).eval()
    loose = gk.plan(model, ROWS, **OPTIONS)
    tight = gk.plan(model, ROWS, **OPTIONS | {"max_error": 0.999 * loose.network.error})
    assert links(loose) == [("0", "1"), ("1", "2")]
    assert len(links(tight)) < 2
    assert all(layer.stem for layer in tight.layers)
    assert "gives float to" in str(tight)
    assert "the network's error would be" in str(tight)


def test_ranges_come_from_calibration_too():
    torch.manual_seed(0)
    model = nn.Sequential(*linears(2)).eval()
    made = gk.plan(model, ROWS, calibration=[3 * ROWS], **OPTIONS)
    with torch.inference_mode():
        ends = model[0](3 * ROWS).aminmax()
    assert made.layers[1].options["input_range"] == pytest.approx([float(end) for end in ends])


def test_half_precision_networks_stay_as_they_are():
    model, x = nn.Sequential(*linears(2)).bfloat16().eval(), ROWS.bfloat16()
    made = gk.plan(model, x, **OPTIONS)
    assert links(made) == []
    assert "its input is no finite float32 map in every call" in made.layers[0].reason


def test_plans_and_networks_go_through_files(tmp_path):
    model = nn.Sequential(*linears(3)).eval()
    made = gk.plan(model, ROWS, **OPTIONS)
    again = Plan.load(made.save(tmp_path / "plan.json"))
    assert str(again) == str(made)
    fast = again.apply(model)
    loaded = gk.load(nn.Sequential(*linears(3)), gk.save(fast, tmp_path / "net.safetensors"), plan="any")
    with torch.inference_mode():
        assert torch.equal(loaded(ROWS), fast(ROWS))


@pytest.mark.parametrize("gain", [0.5, -0.5])
def test_a_clock_decides_which_network_is_taken(monkeypatch, gain):
    clock = SyntheticClock(noise=0.01)
    stock_forward, int8_forward = nn.Linear.forward, Int8Linear.forward

    def stock(self, x):
        clock.work(0.010)
        return stock_forward(self, x)

    def int8(self, x, *rest, **options):
        clock.work(0.005 * (1 - gain if x.dtype == torch.uint8 else 1))
        return int8_forward(self, x, *rest, **options)

    monkeypatch.setattr(nn.Linear, "forward", stock)
    monkeypatch.setattr(Int8Linear, "forward", int8)
    options = {"clock": clock, "precision": {"int8_gemm"}, "measure": True}
    made = gk.plan(nn.Sequential(*linears(3)).eval(), ROWS, **OPTIONS | options)
    assert made.accepted
    assert [layer.stem for layer in made.layers] == ["int8_gemm"] * 3
    assert len(links(made)) == (2 if gain > 0 else 0)
    if gain < 0:
        assert "8 bits to the next layer were not faster" in made.layers[0].reason
