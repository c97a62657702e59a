"""The energy table of a network: what is counted as a layer, what by operation, what not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from typer.testing import CliRunner

import greenkernels as gk
from greenkernels import _build, cli
from greenkernels.energy import Estimate, count, joules
from greenkernels.measure.provenance import Kind
from greenkernels.user_model import load_model

NET = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)).eval()
IMAGE = torch.randn(2, 3, 6, 6)
F32 = 4  # bytes


class Attention(nn.Module):
    """Products between activations, which no layer has."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(x)
        return (y @ y.transpose(1, 2)).softmax(-1) @ y


class WithSpectrum(nn.Module):
    """Something that no rule counts, between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.fft.fft(self.first(x)).abs())


def layers(estimate: Estimate) -> dict[str, gk.energy.Counts | None]:
    return {layer.name: layer.tally.total for layer in estimate.layers}


def test_layers_add_up_to_the_network() -> None:
    found = gk.energy.estimate(NET, IMAGE)
    expected = [(NET[0], IMAGE.shape), (NET[1], (2, 8, 6, 6)), (NET[3], (2, 288))]
    weights = sum(p.numel() * F32 for p in NET.parameters())
    wanted = [joules(count(*layer).counts, network_weights=weights) for layer in expected]
    assert found.energy_j.value == pytest.approx(sum(j.value for j in wanted))
    assert found.energy_j.low == pytest.approx(sum(j.low for j in wanted))
    assert found.energy_j.kind is Kind.MODELLED
    assert found.missing == []
    assert list(layers(found)) == ["0", "1", "2", "3"]


def test_operations_between_layers_are_counted() -> None:
    x = torch.randn(2, 5, 4)
    found = layers(gk.energy.estimate(Attention().eval(), x))
    assert found["project"] == count(nn.Linear(4, 4), x.shape).counts
    assert found[""].flops == 2 * (2 * 2 * 25 * 4) + 5 * 50


def test_what_cannot_be_counted_is_listed_and_the_whole_is_unknown() -> None:
    found = gk.energy.estimate(WithSpectrum().eval(), torch.randn(3, 4))
    assert found.energy_j is None
    assert found.counted.total.value > 0
    assert any("_fft" in text and text.startswith("(the model): ") for text in found.missing)
    assert "unknown" in str(found)
    assert "_fft" in str(found)
    assert found.to_json()["energy_j"] is None


def test_a_layer_of_unknown_class_is_counted_by_its_operations() -> None:
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3))).eval()
    found = gk.energy.estimate(net, torch.randn(2, 4))
    assert found.layers[0].tally.total is not None
    assert "0" in layers(found)


def test_a_layer_called_twice_counts_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x))

    found = gk.energy.estimate(Twice().eval(), torch.randn(2, 4))
    assert layers(found)["layer"] == count(nn.Linear(4, 4), (2, 4)).counts * 2
    assert found.layers[0].tally.calls == 2


def test_work_in_a_hook_of_the_user_is_counted() -> None:
    net = nn.Sequential(nn.Linear(4, 3)).eval()
    plain = gk.energy.estimate(net, torch.randn(2, 4)).tally().total.flops
    net[0].register_forward_hook(lambda module, args, output: output * 2)
    assert gk.energy.estimate(net, torch.randn(2, 4)).tally().total.flops == plain + 6


def test_an_option_that_no_shape_tells_is_counted_by_operation() -> None:
    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.ConvTranspose2d(2, 2, 3, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, output_size=(10, 10))

    found = gk.energy.estimate(Sized().eval(), torch.randn(1, 2, 4, 4))
    assert layers(found)["layer"].bytes_written == 2 * 100 * 4


def test_autocast_counts_in_the_type_that_is_computed_in() -> None:
    net = nn.Sequential(nn.Linear(4, 3)).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gk.energy.estimate(net, torch.randn(2, 4))
    assert found.tally().work["bfloat16"].flops == 2 * 2 * 3 * 4 + 6


def test_a_packed_sequence_is_not_taken_for_one_sequence() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 2])))[0].data

    x = torch.randn(3, 2, 4)
    found = gk.energy.estimate(Packed().eval(), x)
    assert layers(found)["layer"] != count(nn.LSTM(4, 3), (5, 4)).counts


@pytest.mark.parametrize("spelling", [IMAGE, (IMAGE,), [IMAGE], {"input": IMAGE}])
def test_inputs_in_every_spelling(spelling: object) -> None:
    assert gk.energy.estimate(NET, spelling).energy_j == gk.energy.estimate(NET, IMAGE).energy_j


def test_leaves_the_network_as_it_was() -> None:
    before = {name: value.clone() for name, value in NET.state_dict().items()}
    gk.energy.estimate(NET, IMAGE)
    assert all(torch.equal(value, before[name]) for name, value in NET.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in NET.modules())


def test_hooks_are_gone_after_an_error() -> None:
    with pytest.raises(RuntimeError):
        gk.energy.estimate(NET, torch.randn(1, 7, 6, 6))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in NET.modules())


def test_refuses_training_mode_of_any_part() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3)).eval()
    net[0].train()
    with pytest.raises(ValueError, match=r"'0' is not: call model.eval\(\)"):
        gk.energy.estimate(net, torch.randn(2, 3))


def test_an_exported_network_is_counted_by_its_operations(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(NET, (IMAGE,)), tmp_path / "net.pt2")
    found = gk.energy.estimate(load_model(str(tmp_path / "net.pt2")), IMAGE)
    assert found.missing == []
    assert found.tally().total.flops == gk.energy.estimate(NET, IMAGE).tally().total.flops


def test_refuses_inputs_of_another_type() -> None:
    with pytest.raises(ValueError, match="inputs must be a tensor, a tuple or a dict, got str"):
        gk.energy.estimate(NET, "1x3x6x6")


def test_refuses_an_unknown_table_before_running() -> None:
    with pytest.raises(ValueError, match="hardware must be one of"):
        gk.energy.estimate(NET, torch.randn(9), hardware="abacus")


def test_our_layer_counts_itself_and_its_fallback_as_what_ran() -> None:
    if not _build.ensure_loaded():
        pytest.skip("no compiled kernels")
    ours, x = gk.nn.WinogradConv2d(16, 16, padding=1).eval(), torch.randn(1, 16, 12, 12)
    net = nn.Sequential(ours).eval()
    assert layers(gk.energy.estimate(net, x))["0"] == count(ours, x.shape).counts
    ours.stride = (2, 2)  # which the kernel does not have
    stock = nn.Conv2d(16, 16, 3, stride=2, padding=1)
    assert layers(gk.energy.estimate(net, x))["0"] == count(stock, x.shape).counts


def test_table_has_all_three_parts_and_says_what_it_is() -> None:
    text = str(gk.energy.estimate(NET, IMAGE))
    for word in (
        "compute mJ",
        "memory mJ",
        "communication mJ",
        "none: one device",
        "modelled for generic-7nm",
    ):
        assert word in text


def test_json_has_plain_numbers_with_their_kind() -> None:
    data = json.loads(json.dumps(gk.energy.estimate(NET, IMAGE, "horowitz-45nm").to_json()))
    assert data["hardware"] == "horowitz-45nm"
    assert data["energy_j"]["kind"] == "modelled"
    assert data["counted"]["communication"]["value"] == 0
    assert math.isclose(
        data["energy_j"]["value"], sum(layer["joules"]["total"]["value"] for layer in data["layers"])
    )


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.build_app(["estimate"]), ["estimate", *words])
    return result.exit_code, result.output


def test_command_prints_the_table() -> None:
    code, text = run("torch.nn:ReLU", "--input", "2x3")
    assert code == 0
    assert "ReLU" in text
    code, text = run("torch.nn:ReLU", "--input", "2x3", "--json", "--hardware", "horowitz-45nm")
    assert json.loads(text)["layers"][0]["work"][0]["flops"] == 6


def test_command_prints_cost_and_carbon_when_asked(tmp_path: Path) -> None:
    code, text = run("torch.nn:ReLU", "--input", "2x3", "--price", "0.3", "--carbon", "400")
    assert code == 0
    assert "cost of a million calls: " in text
    assert "gCO2e" in text
    code, text = run("torch.nn:ReLU", "--input", "2x3", "--price", "0.3", "--json")
    assert json.loads(text)["cost_of_a_million_calls"]["kind"] == "modelled"
    code, text = run("torch.nn:ReLU", "--input", "2x3", "--price", "-1")
    assert code == 1
    assert "must not be negative" in text


def test_command_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, text = run("torch.nn:ReLU", "--input", "2x3", "--plot", str(tmp_path))
    assert (code, "wrote" in text) == (0, True)
    assert (tmp_path / "energies.svg").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("torch.nn:ReLU",), "give --input for each argument"),
        (("no_network", "--input", "1x3"), "package.module:factory"),
        (
            ("torch.nn:Identity", "--input", "2x3", "--input", "4"),
            "Identity fails on inputs [2, 3], [4]: TypeError",
        ),
        (("torch.nn:ReLU", "--input", "2x3", "--hardware", "abacus"), "hardware must be one of"),
    ],
)
def test_command_says_what_is_wrong(words: tuple[str, ...], message: str) -> None:
    code, text = run(*words)
    assert code == 1
    assert message in text
