"""The pipeline of recipes: what a recipe may say, data that is broken, steps that are killed and go on, the report."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from idx_files import write_files
from torch import nn
from typer.testing import CliRunner

from greenkernels.cli import build_app
from greenkernels.compress.compress_command import RECIPES
from greenkernels.compress.pipeline import RecipeError, evaluation, read_recipe, run, runner, steps
from greenkernels.compress.pipeline.data import load
from greenkernels.compress.pipeline.evaluation import nothing_dominates
from greenkernels.nn import Int8Linear, SparseLinear

HEAD = 'name = "t"\nnetwork = "greenkernels.compress.pipeline.networks:classic"\nbatch = 32\nfloor = 0.05\n'


@pytest.fixture
def data(tmp_path):
    return write_files(tmp_path / "data")


@pytest.fixture(autouse=True)
def no_clock(monkeypatch):
    """Times are none of these tests' business."""

    def times(models, data):
        facts = {name: {"time_s": 1e-3 * (i + 1), "threads": 1, "batch": 8} for i, name in enumerate(models)}
        for name in list(models)[1:]:
            facts[name]["speedup"] = [0.9, 1.0, 1.1]
        return facts

    monkeypatch.setattr("greenkernels.compress.pipeline.runner.take_times", times)


def recipe(tmp_path: Path, text: str, head: str = HEAD):
    path = tmp_path / "recipe.toml"
    path.write_text(head + text)
    return read_recipe(path)


TRAIN = '[[step]]\ndo = "train"\nepochs = 1\n'
PRUNE = '[[step]]\ndo = "prune"\nepochs = 2\namount = 0.8\n'
ALL = (
    TRAIN
    + PRUNE
    + '[[step]]\ndo = "factorize"\nepochs = 1\nbudget = 0.9\n'
    + '[[step]]\ndo = "distill"\nepochs = 1\n'
    + '[[step]]\ndo = "sparse"\n[[step]]\ndo = "pool"\n[[step]]\ndo = "layout"\n[[step]]\ndo = "quantize"\n'
)


def quiet(_):
    pass


def again(made, path: Path) -> nn.Module:
    """The network that a step left."""
    return runner._load(made, path)


def test_all_steps_leave_networks_rows_and_a_report(tmp_path, data):
    out = tmp_path / "out"
    rows = run(recipe(tmp_path, ALL), out, data=data, say=quiet)
    names = [row.step for row in rows]
    done = ["start", "train", "prune", "factorize", "distill", "sparse", "pool", "layout", "quantize"]
    assert names == [f"{i:02d}-{do}" for i, do in enumerate(done)]
    assert all(0 <= row.accuracy <= 1 for row in rows)
    assert rows[2].nonzeros == pytest.approx(0.2 * rows[1].nonzeros, rel=0.01)
    assert rows[2].file_bytes < 0.4 * rows[1].file_bytes
    assert (
        rows[4].nonzeros == rows[3].nonzeros == rows[5].nonzeros
    )  # what was pruned stays so in later training
    last = again(recipe(tmp_path, ALL), out / "08-quantize")
    assert any(isinstance(module, SparseLinear) for module in last.modules())
    assert any(isinstance(module, Int8Linear) for module in last.modules())
    assert [type(module).__name__ for module in last[1:3]] == ["PairedMaxPool2d", "ReLU"]
    assert rows[6].accuracy == rows[5].accuracy
    text = (out / "report.md").read_text()
    assert "08-quantize" in text
    assert "model, modelled" in text
    assert not [path for path in out.iterdir() if path.suffix in (".part", ".tmp")]


def test_a_run_that_was_killed_goes_on_to_the_same_networks(tmp_path, data, monkeypatch):
    made = recipe(tmp_path, TRAIN + PRUNE + '[[step]]\ndo = "distill"\nepochs = 1\n')
    whole = run(made, tmp_path / "whole", data=data, say=quiet)

    class Killed(BaseException):
        pass

    for at in ("train", "prune", "distill"):
        kind = steps.STEPS[at]

        def killed(model, job, kind=kind, **options):
            kind.run(model, job, **options)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setitem(steps.STEPS, at, kind._replace(run=killed))
            with pytest.raises(Killed):
                run(made, tmp_path / "out", data=data, say=quiet)
    assert run(made, tmp_path / "out", data=data, say=quiet) == whole
    a, b = (again(made, tmp_path / name / "03-distill").state_dict() for name in ("whole", "out"))
    assert all(torch.equal(a[key], b[key]) for key in a)

    def never(*_, **__):
        raise AssertionError("done already")

    monkeypatch.setattr("greenkernels.compress.pipeline.runner._follow", never)
    monkeypatch.setattr("greenkernels.compress.pipeline.runner.take_times", never)
    assert run(made, tmp_path / "out", data=data, say=quiet) == whole


def test_a_changed_recipe_begins_where_it_was_changed(tmp_path, data, monkeypatch):
    run(recipe(tmp_path, TRAIN + PRUNE), tmp_path / "out", data=data, say=quiet)
    followed = []
    for do, kind in list(steps.STEPS.items()):

        def note(model, job, do=do, kind=kind, **options):
            followed.append(do)
            return kind.run(model, job, **options)

        monkeypatch.setitem(steps.STEPS, do, kind._replace(run=note))
    run(recipe(tmp_path, TRAIN + PRUNE.replace("0.8", "0.5")), tmp_path / "out", data=data, say=quiet)
    assert followed == ["prune"]
    run(recipe(tmp_path, TRAIN + PRUNE, HEAD + "seed = 3\n"), tmp_path / "out", data=data, say=quiet)
    assert followed == ["prune", "train", "prune"]


@pytest.mark.parametrize(
    "text",
    [
        'do = "quantize"\nbits = 4\nrounding = "second-order"\ncorrect_bias = true\n',
        'do = "quantize"\nbits = 4\nepochs = 1\n',
        'do = "share"\nbits = 2\nepochs = 1\n',
    ],
)
def test_few_bits_make_the_file_small(tmp_path, data, text):
    made = recipe(tmp_path, PRUNE + "[[step]]\n" + text)
    rows = run(made, tmp_path / "out", data=data, say=quiet)
    assert rows[2].file_bytes < rows[0].file_bytes / 6
    assert rows[2].nonzeros <= rows[1].nonzeros
    again(made, tmp_path / "out" / f"02-{made.steps[1].do}")


def test_whole_channels_leave_the_network(tmp_path, data):
    text = TRAIN + PRUNE + 'structure = "channels"\nscope = "layer"\n'
    made = recipe(tmp_path, text)
    rows = run(made, tmp_path / "out", data=data, say=quiet)
    assert rows[2].weights < 0.2 * rows[1].weights
    last = again(made, tmp_path / "out" / "02-prune")[-1]
    assert (last.out_features, int(last.weight.any(1).sum())) == (10, 10)


def test_a_loss_that_is_no_number_names_the_step_and_loses_nothing(tmp_path, data):
    made = recipe(tmp_path, TRAIN + PRUNE + "rate = 1e30\n")
    with pytest.raises(
        ValueError, match=r"02-prune: the loss must be a number, got .* epoch 1, batch .* is kept in"
    ):
        run(made, tmp_path / "out", data=data, say=quiet)
    kept = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "01-train.json" in kept
    assert "02-prune.json" not in kept


def test_accuracy_per_joule_is_shown_above_the_floor_alone(data):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()
    found = load(data)
    above, below = (evaluation.take_joules(model, found, floor=0.3, quality=q) for q in (0.4, 0.2))
    assert above["per_joule"]["value"] == pytest.approx(0.4 / above["energy_j"]["value"])
    assert below["per_joule"] is None
    assert below["energy_j"]["value"] > 0


class Bad(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10] * float("nan")


def test_answers_that_are_no_numbers_are_refused(data):
    found = load(data)
    with pytest.raises(ValueError, match="the accuracy must be a number, but the network's answers are not"):
        evaluation.accuracy(Bad(), found)
    found = replace(found, judge=lambda output, labels: float("nan"))
    with pytest.raises(ValueError, match="the accuracy must be a number, got nan"):
        evaluation.accuracy(nn.Flatten(), found)


# --- recipes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"there must be at least one \[\[step\]\]"),
        ("batchsize = 3\n" + TRAIN, "there is no 'batchsize', but name, network"),
        ('[[step]]\ndo = "shrink"\n', "step 1: do must be one of train, prune, .*, got 'shrink'"),
        (TRAIN + "epoch = 3\n", r"step 1 \(train\): there is no 'epoch', but epochs, rate"),
        (TRAIN + "rate = true\n", r"step 1 \(train\): rate must be float, got True"),
        ('[[step]]\ndo = "train"\nepochs = 1.5\n', r"epochs must be int, got 1\.5"),
        (
            '[[step]]\ndo = "quantize"\n' + TRAIN,
            r"step 2 \(train\) trains weights that step 1 \(quantize\) has packed",
        ),
        ("= 3", "Invalid|expected|Expected"),
    ],
)
def test_a_bad_recipe_says_what_is_bad(tmp_path, text, said):
    with pytest.raises(RecipeError, match=said):
        recipe(tmp_path, text)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ('name = "t"\n', "network is missing"),
        (HEAD.replace("0.05", "2"), r"floor must be in \[0, 1\], got 2\.0"),
        (HEAD.replace("32", "0"), "batch must be 1 or more, got 0"),
    ],
)
def test_a_bad_head_says_what_is_bad(tmp_path, head, said):
    with pytest.raises(RecipeError, match=said):
        recipe(tmp_path, TRAIN, head)


@pytest.mark.parametrize("network", ["no_such_package:f", "torch:nothing", "builtins:dict", "torch"])
def test_a_network_that_cannot_be_had(tmp_path, data, network):
    head = HEAD.replace("greenkernels.compress.pipeline.networks:classic", network)
    with pytest.raises(RecipeError, match="network"):
        run(recipe(tmp_path, TRAIN, head), tmp_path / "out", data=data, say=quiet)


def test_pooling_by_pairs_keeps_what_it_cannot_replace():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(3), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers).eval()
    pooled = steps.pool(model, None)
    assert [type(layer).__name__ for layer in pooled[2:]] == ["MaxPool2d", "PairedMaxPool2d", "ReLU"]
    x = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(pooled(x), model(x))


def test_begins_from_weights_of_the_users(tmp_path, data):
    from greenkernels.compress.pipeline.networks import classic

    torch.manual_seed(7)
    torch.save(classic().state_dict(), tmp_path / "w.pt")
    head = HEAD + f'weights = "{tmp_path / "w.pt"}"\n'
    rows = run(recipe(tmp_path, '[[step]]\ndo = "sparse"\n', head), tmp_path / "out", data=data, say=quiet)
    assert rows[0].accuracy == rows[1].accuracy
    head = HEAD + 'weights = "nowhere.pt"\n'
    with pytest.raises(RecipeError, match=r"weights 'nowhere\.pt' cannot be loaded"):
        run(recipe(tmp_path, TRAIN, head), tmp_path / "other", data=data, say=quiet)


def test_optimize_asks_for_a_plan_on_test_images(tmp_path, data, monkeypatch):
    asked = []

    def planned(model, inputs, **options):
        asked.append((tuple(inputs.shape), options["precision"]))
        return model

    monkeypatch.setattr("greenkernels.planning.optimize", planned)
    run(recipe(tmp_path, '[[step]]\ndo = "optimize"\n'), tmp_path / "out", data=data, say=quiet)
    assert asked == [((40, 1, 28, 28), "float32")]


# --- the command


def test_the_command_follows_a_recipe_and_names_what_is_wrong(tmp_path, data):
    path = tmp_path / "recipe.toml"
    path.write_text(HEAD + TRAIN)
    app, runner = build_app(["compress", "doctor"]), CliRunner()
    done = runner.invoke(
        app, ["compress", str(path), "--out", str(tmp_path / "out"), "--data", str(data), "--quick"]
    )
    assert done.exit_code == 0, done.output
    assert "wrote" in done.output
    done = runner.invoke(
        app, ["compress", str(path), "--out", str(tmp_path / "out"), "--data", str(tmp_path)]
    )
    assert done.exit_code == 1
    assert "does not hold" in done.output
    done = runner.invoke(app, ["compress", "--list"])
    assert done.output.split() == sorted(path.stem for path in RECIPES.glob("*.toml"))


def test_points_that_nothing_dominates():
    assert nothing_dominates([(1, 0.5), (2, 0.9), (3, 0.9), (3, 0.4)]) == [True, True, False, False]
