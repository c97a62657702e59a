"""Converted networks in files: loaded without measuring, refused where they are foreign or damaged; other exports."""

import json
import struct
import subprocess
import sys

import pytest
import torch
from torch import nn

import greenkernels as gk
from greenkernels.nn import DirectConv2d, WinogradConv2d
from greenkernels.planning import explain, plan, restore
from greenkernels.planning.foreign import machine_of

X = torch.randn(1, 16, 9, 11, generator=torch.Generator().manual_seed(1))
OPTIONS = {"measure": False, "progress": False, "cache": False}


def network() -> nn.Module:
    layers = (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 99, 3))


def converted(**options) -> nn.Module:
    model = network().eval()
    nn.init.uniform_(model[1].running_var, 0.5, 1.5)
    made = plan(model, X, **OPTIONS | options)
    made.measured = True  # as far as a file knows
    return made.apply(model)


def saved(tmp_path, **changes):
    """A file, its header changed."""
    path = gk.save(converted(), tmp_path / "net.safetensors")
    raw = path.read_bytes()
    size = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8 : 8 + size])
    header["__metadata__"] |= changes
    words = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(words)) + words + raw[8 + size :])
    return path


def test_comes_back_converted_without_measuring(tmp_path, monkeypatch):
    fast = converted()
    path = gk.save(fast, tmp_path / "net.safetensors")
    monkeypatch.setattr("greenkernels.planning.timing.take_turns", None)
    loaded = gk.load(network(), path)
    assert [type(m) for m in loaded] == [type(m) for m in fast]
    assert str(explain(loaded)) == str(explain(fast))
    with torch.inference_mode():
        assert torch.equal(loaded(X), fast(X))
        torch.testing.assert_close(restore(loaded)(X), fast(X), rtol=1e-4, atol=1e-5)


def test_a_fresh_process_needs_the_file_alone(tmp_path):
    fast = converted()
    path = gk.save(fast, tmp_path / "net.safetensors")
    torch.save({"x": X, "y": fast(X).detach()}, tmp_path / "pair.pt")
    script = f"""
import sys; sys.path[:0] = {sys.path!r}
import torch, greenkernels as gk
from test_saving_plans import network
pair = torch.load({str(tmp_path / "pair.pt")!r}, weights_only=True)
torch.set_num_threads({torch.get_num_threads()})
with torch.inference_mode():
    assert torch.allclose(gk.load(network(), {str(path)!r})(pair["x"]), pair["y"], atol=1e-5)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_int8_layers_come_back_as_they_were(tmp_path):
    fast = converted(precision="int8", max_error=0.1)
    loaded = gk.load(network(), gk.save(fast, tmp_path / "net.safetensors"))
    with torch.inference_mode():
        assert torch.equal(loaded(X), fast(X))


def test_the_plan_of_another_machine_is_refused_with_an_offer(tmp_path):
    path = gk.save(converted(), tmp_path / "net.safetensors")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(
            ValueError, match=rf"another machine \(threads {threads}, here {threads + 1}\). Measure anew"
        ):
            gk.load(network(), path)
        assert isinstance(gk.load(network(), path, plan="any")[0], WinogradConv2d)
        stock = gk.load(network(), path, plan="none")
        assert type(stock[0]) is nn.Conv2d
    finally:
        torch.set_num_threads(threads)
    with pytest.raises(ValueError, match="plan must be one of checked, any, none, got 'yes'"):
        gk.load(network(), path, plan="yes")


@pytest.mark.parametrize(
    "changes", [{"plan": "{}"}, {"machine": "{}"}, {"sha256": "0"}, {"version": "2"}], ids=str
)
def test_a_changed_file_is_refused(tmp_path, changes):
    with pytest.raises(ValueError, match=r"checksum does not hold|version must be 1, got 2"):
        gk.load(network(), saved(tmp_path, **changes))


def test_a_changed_weight_is_refused(tmp_path):
    path = gk.save(converted(), tmp_path / "net.safetensors")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="its checksum does not hold"):
        gk.load(network(), path)


def test_another_network_is_refused(tmp_path):
    path = gk.save(converted(), tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"apply: '0' must be the Conv2d\(16, 16.*got Linear"):
        gk.load(nn.Sequential(nn.Linear(3, 3)), path)


def test_the_machine_is_that_of_the_plan():
    facts = machine_of(explain(converted()))
    assert facts["threads"] == torch.get_num_threads()
    assert set(facts) == {"cpu", "model", "level", "threads"}


def test_goes_through_torch_export_and_its_file(tmp_path):
    fast = converted()
    with torch.no_grad():
        program = torch.export.export(fast, (X,))
        torch.export.save(program, tmp_path / "net.pt2")
        again = torch.export.load(tmp_path / "net.pt2").module()
        torch.testing.assert_close(again(X), fast(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "module", [WinogradConv2d(16, 16, 3, padding=1), DirectConv2d(16, 16, 3)], ids=lambda m: m.stem
)
def test_an_export_to_onnx_says_what_to_do(module, monkeypatch):
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    with pytest.raises(RuntimeError, match=r"export greenkernels\.restore\(model\)"), torch.no_grad():
        torch.export.export(module.eval(), (X,))
    with torch.no_grad():
        module(X)  # calls that are no export go on
