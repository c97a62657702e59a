"""Networks and inputs from the words of a command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from greenkernels import zoo
from greenkernels.user_model import UserModelError, load_inputs, load_model

SOURCE = '''"""A user's file."""
from torch import nn

ready = nn.Linear(2, 3)
number = 3

def build():
    return nn.Sequential(nn.Linear(4, 2), nn.ReLU())

def needs(size):
    return nn.Linear(size, size)

def gives_text():
    return "no network"
'''


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_networks.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # and is taken out again, with what is loaded from it
    return tmp_path


@pytest.mark.usefixtures("user_folder")
def test_calls_a_factory_and_leaves_training_mode() -> None:
    model = load_model("my_networks:build")
    assert isinstance(model, nn.Sequential)
    assert not model.training


@pytest.mark.usefixtures("user_folder")
def test_takes_a_ready_module() -> None:
    assert isinstance(load_model("my_networks:ready"), nn.Linear)


@pytest.mark.usefixtures("user_folder")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere_at_all:build", "run from its folder or set PYTHONPATH"),
        ("my_networks:missing", "has no 'missing'"),
        ("my_networks:needs", "must work without arguments"),
        ("my_networks:gives_text", "must give an nn.Module, got str"),
        ("my_networks:number", "must be a function or an nn.Module, got int"),
        ("no_such_network", "package.module:factory"),
        ("gone.pt2", "torch.export.save"),
    ],
)
def test_says_what_to_write_instead(text: str, message: str) -> None:
    with pytest.raises(UserModelError, match=message):
        load_model(text)


def test_says_why_weights_of_the_zoo_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise zoo.FetchError("no network")

    monkeypatch.setattr(zoo, "load", load)
    with pytest.raises(UserModelError, match=f"{zoo.NETWORKS[0]}: no network"):
        load_model(zoo.NETWORKS[0])


def test_loads_an_exported_network(tmp_path: Path) -> None:
    stock = nn.Linear(4, 2).eval()
    x = torch.randn(3, 4)
    path = tmp_path / "linear.pt2"
    torch.export.save(torch.export.export(stock, (x,)), path)
    loaded = load_model(str(path))
    assert torch.equal(loaded(x), stock(x))
    assert not loaded.training


def test_refuses_a_file_that_only_looks_exported(tmp_path: Path) -> None:
    path = tmp_path / "text.pt2"
    path.write_text("not a network")
    with pytest.raises(UserModelError, match=r"torch.export.load refuses it"):
        load_model(str(path))


def test_makes_inputs_of_a_shape() -> None:
    a, b, c = load_inputs(["1x3x8x9", "2x5:float64", "1x4:int64"])
    assert (a.shape, a.dtype) == ((1, 3, 8, 9), torch.float32)
    assert (b.shape, b.dtype) == ((2, 5), torch.float64)
    assert (c.dtype, c.count_nonzero()) == (torch.int64, 0)
    assert torch.equal(load_inputs(["1x3x8x9"])[0], a)
    assert not torch.equal(*load_inputs(["3x3", "3x3"]))


def test_reads_inputs_from_files(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    one, two = torch.randn(2, 3), torch.arange(4)
    torch.save(one, tmp_path / "one.pt")
    torch.save((one, two), tmp_path / "both.pt")
    numpy.save(tmp_path / "one.npy", one.numpy())
    numpy.savez(tmp_path / "both.npz", a=one.numpy(), b=two.numpy())
    names = ("one.pt", "both.pt", "one.npy", "both.npz")
    loaded = load_inputs([str(tmp_path / name) for name in names])
    for got, wanted in zip(loaded, (one, one, two, one, one, two), strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "give --input for each argument"),
        (["1x3xfoo"], "an input is a shape such as 1x3x224x224"),
        (["1x3:float33"], "torch has no dtype 'float33'"),
        (["gone.npy"], "no such file"),
    ],
)
def test_says_what_an_input_may_be(texts: list[str], message: str) -> None:
    with pytest.raises(UserModelError, match=message):
        load_inputs(texts)


def test_refuses_a_file_without_tensors(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "words.pt")
    with pytest.raises(UserModelError, match="must hold tensors, got dict"):
        load_inputs([str(tmp_path / "words.pt")])
