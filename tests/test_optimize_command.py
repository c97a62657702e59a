"""`greenkernels optimize`: a user's factory or exported file to a plan, and errors that say what to do."""

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from greenkernels.cli import build_app
from greenkernels.planning import Plan, from_exported
from greenkernels.planning.exported import rebuild

SOURCE = '''"""A user's file."""
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 2))

def two():
    class Two(nn.Module):
        def forward(self, a, b):
            return a + b
    return Two()
'''
SHAPE = "1x16x8x8"


class Network(nn.Module):
    """Everything an export turns into functions."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(16))
        self.twice = nn.Conv2d(16, 16, 3, padding="same", bias=False)
        self.strided = nn.Conv2d(16, 8, (3, 1), stride=(2, 1), dilation=2, groups=2)
        self.head = nn.Linear(8, 3)
        self.dropout = nn.Dropout()

    def forward(self, x):
        y = self.features(x)
        y = self.strided(self.twice(y) + self.twice(2 * y))
        return {"out": self.dropout(self.head(y.mean((-1, -2))))}


@pytest.fixture
def network():
    return Network().eval()


@pytest.fixture
def x():
    return torch.randn(1, 16, 8, 8)


@pytest.fixture
def exported(network, x, tmp_path):
    path = tmp_path / "network.pt2"
    torch.export.save(torch.export.export(network, (x,)), path)
    return path


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    (tmp_path / "users_networks.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GREENKERNELS_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def run(*arguments):
    return CliRunner().invoke(build_app(["optimize", "doctor"]), ["optimize", *map(str, arguments)])


def test_plans_a_factory_by_rules(user_folder):
    done = run("users_networks:build", "--input", SHAPE, "--no-measure", "--no-cache", "--out", "plan.json")
    assert done.exit_code == 0, done.output
    assert "winograd_conv2d tile=4 + relu" in done.output
    assert "a dense product like torch's own" in done.output
    assert "wrote plan.json" in done.output
    made = Plan.load(user_folder / "plan.json")
    assert len(made.replaced) == 1
    assert not (user_folder / "cache" / "plans").exists()


def test_measures_and_uses_the_cache(user_folder, monkeypatch):
    """No word on who wins: this machine may be busy. Then turns stay open, and such a verdict would not be kept."""
    monkeypatch.setattr("greenkernels.planning.plans.NetworkVerdict.undecided", False)
    arguments = (
        "users_networks:build",
        "--input",
        SHAPE,
        "--threads",
        1,
        "--time-budget",
        0.5,
        "--objective",
        "edp",
    )
    first = run(*arguments)
    assert first.exit_code == 0, first.output
    assert "1 thread(s)" in first.output
    assert "from the cache of" not in first.output
    assert "from the cache of" in run(*arguments).output
    assert "from the cache of" not in run(*arguments, "--no-cache").output


def test_writes_a_report(user_folder):
    done = run("users_networks:build", "--input", SHAPE, "--no-measure", "--report", "report.html")
    assert done.exit_code == 0, done.output
    page = (user_folder / "report.html").read_text()
    assert "winograd_conv2d" in page
    assert "users_networks:build" in page


def test_plans_an_exported_file(exported, network, x, user_folder):
    done = run(exported, "--input", SHAPE, "--no-measure", "--max-error", 1e-3, "--out", "plan.json")
    assert done.exit_code == 0, done.output
    made = Plan.load(user_folder / "plan.json")
    assert {layer.names[0] for layer in made.replaced} == {"features.0", "twice"}
    fast = made.apply(from_exported(torch.export.load(exported)))
    with torch.inference_mode():
        torch.testing.assert_close(fast(x)["out"], network(x)["out"], rtol=1e-3, atol=1e-4)
    converted = made.apply(network)  # the names are those of the network that was exported
    assert type(converted.twice) is not nn.Conv2d


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("users_networks:build",), "give --input for each argument"),
        (("users_networks:nothing", "--input", SHAPE), "has no 'nothing'"),
        (("nowhere:build", "--input", SHAPE), "set PYTHONPATH"),
        (("gone.pt2", "--input", SHAPE), "no such file"),
        (("users_networks:build", "--input", "1x2x"), "an input is a shape such as"),
        (("users_networks:build", "--input", SHAPE, "--objective", "speed"), "objective must be one of"),
        (("users_networks:build", "--input", SHAPE, "--max-error", "0"), "max_error must be positive"),
        (("users_networks:build", "--input", SHAPE, "--max-memory", "-1"), "max_memory must be"),
        (("users_networks:build", "--input", SHAPE, "--dtype", "float33"), "no dtype 'float33'"),
        (("users_networks:build", "--input", "1x3x8x8", "--no-measure"), "to have 16 channels, but got 3"),
        (("users_networks:build", "--input", SHAPE, "--out", "no/such/folder.json"), "there is no folder"),
    ],
)
def test_says_what_to_do(arguments, message):
    done = run(*arguments)
    assert done.exit_code == 1
    assert message in done.output


def test_several_inputs_with_commas_or_repeated():
    for inputs in (("--input", "2x3,2x3"), ("--input", "2x3", "--input", "2x3")):
        done = run("users_networks:two", *inputs, "--dtype", "float64", "--no-measure")
        assert done.exit_code == 0, done.output
        assert "no layer has a kernel that fits" in done.output


# --- exported networks


def test_rebuilds_every_layer(network, x, exported):
    program = torch.export.load(exported)
    rebuilt, left = rebuild(program)
    assert left == {}
    for name in ("features.0", "twice", "strided", "head"):
        assert repr(rebuilt.get_submodule(name)) == repr(network.get_submodule(name))
    assert list(rebuilt.state_dict()) == list(network.state_dict())
    with torch.inference_mode():
        assert torch.equal(rebuilt(x)["out"], network(x)["out"])


def test_leaves_the_given_graph_alone(network, x):
    given = torch.export.export(network, (x,)).module()
    before = str(given.graph)
    from_exported(given)
    assert str(given.graph) == before


def test_functions_with_weights_of_nobody_stay_and_say_so(x):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 16, 3, 3))
            self.conv = nn.Conv2d(16, 16, 3, padding=1)

        def forward(self, x):
            y = nn.functional.conv2d(x, self.weight, padding=1) + self.conv(x)
            z = nn.functional.conv2d(x, self.conv.weight, self.conv.bias, padding=2)
            return y, nn.functional.conv2d(x, self.conv.weight * 2, padding=1), z

    program = torch.export.export(Odd().eval(), (x,))
    rebuilt, left = rebuild(program)
    assert type(rebuilt.conv) is nn.Conv2d
    assert sorted(left.values()) == [
        "another call with the weight of 'conv' has other settings",
        "its weight 'weight' is no layer's own",
        "its weight is computed in the graph",
    ]
    with torch.inference_mode():
        for mine, theirs in zip(rebuilt(x), program.module()(x), strict=True):
            assert torch.equal(mine, theirs)
    with pytest.warns(UserWarning, match="stays as exported: ") as warned:
        from_exported(program)
    assert len(warned) >= 3


def test_refuses_an_export_in_training_mode(x):
    program = torch.export.export(Network().train(), (x,))
    with pytest.raises(ValueError, match="must be exported in eval mode"):
        from_exported(program)


def test_help_names_the_choices():
    done = run("--help")
    assert done.exit_code == 0
    assert "latency, energy or edp" in done.output
    assert json.dumps("plan.json") in done.output
