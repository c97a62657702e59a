"""The ready recipes, and the readers of digits and of quotations that some of them name."""

import pytest
import torch
from idx_files import write_files
from test_compress_pipeline import no_clock  # noqa: F401  times are none of these tests' business
from torch import nn
from zoo_files import fetched

from greenkernels.compress.compress_command import RECIPES
from greenkernels.compress.pipeline import RecipeError, digits, read_recipe, run, runner, topics
from greenkernels.compress.pipeline.data import DataError

OURS = "greenkernels.compress.pipeline.networks"
PATHS = {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}
TRAINED = [name for name, path in PATHS.items() if OURS in path.read_text()]


def quiet(_):
    pass


def test_every_recipe_has_the_name_of_its_file():
    assert {name: read_recipe(path).name for name, path in PATHS.items()} == {name: name for name in PATHS}


@pytest.mark.parametrize("name", TRAINED)
def test_recipes_that_train_can_be_followed(name, tmp_path):
    made = read_recipe(PATHS[name])
    rows = run(made, tmp_path / "out", data=write_files(tmp_path / "data"), quick=True, say=quiet)
    assert len(rows) == len(made.steps) + 1


@pytest.mark.parametrize("name", ["mnist", pytest.param("svhn", marks=pytest.mark.long), "usps"])
def test_recipes_of_digits_can_be_followed(name, tmp_path):
    fetched(name)
    rows = run(read_recipe(PATHS[name]), tmp_path / "out", quick=True, say=quiet)
    assert rows[0].accuracy > 0.6
    assert rows[-1].accuracy > rows[0].accuracy - 0.05
    assert rows[-1].file_bytes < rows[0].file_bytes / 3


def test_digits_come_from_nowhere_else(tmp_path):
    with pytest.raises(
        DataError, match="the digits come from the package scikit-learn: data must not be given"
    ):
        digits.load("mnist", tmp_path)


# --- quotations

WORDS = ["stone", "river", "lamp", "paper", "window", "garden", "tower", "bridge", "flower", "letter"]


class Tiny(nn.Module):
    """An encoder of the shapes of the zoo's."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.last = nn.Embedding(32, 16), nn.Linear(16, 16)

    def forward(self, pieces, mask):
        x = (self.words(pieces) * mask[..., None]).sum(1)
        return nn.functional.normalize(self.last(x), dim=-1)


@pytest.fixture
def quotations(tmp_path, monkeypatch):
    """Files of all topics, a vocabulary, and a small encoder in the place of MiniLM."""
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", *WORDS]))
    folder = tmp_path / "fortunes"
    folder.mkdir()
    for number, topic in enumerate((*topics.TOPICS, *topics.CALIBRATION)):
        word = WORDS[number % len(WORDS)]
        texts = [" ".join([word] * (9 + i)) + "." for i in range(4)] + ["too short"]
        (folder / topic).write_text("\n%\n".join(texts))
    monkeypatch.setattr(topics, "fetch", lambda file: vocabulary)
    monkeypatch.setattr(topics, "build", Tiny)
    return folder


def test_quotations_are_read_the_shortest_first(quotations):
    found = topics.load(quotations)
    assert (len(found.test.labels), len(found.train.labels)) == (4 * 12, 4 * 4)
    lengths = (found.test.inputs != 0).sum(1).tolist()
    assert lengths == sorted(lengths)
    assert found.test.labels.bincount().tolist() == [4] * 12
    assert topics.load(quotations, found.checksum).checksum == found.checksum
    with pytest.raises(DataError, match="the checksum must be abc, got"):
        topics.load(quotations, "abc")
    (quotations / "law").unlink()
    with pytest.raises(
        DataError, match="does not hold the quotations 'law': get the Debian package fortunes"
    ):
        topics.load(quotations)


def test_an_encoder_sees_no_filling(quotations):
    network, found = topics.minilm(), topics.load(quotations)
    short = found.test.inputs[:3]
    with torch.no_grad():
        alone = network(short)
        wide = torch.nn.functional.pad(short, (0, 5))
        assert torch.equal(network(wide), alone)


def test_a_text_is_judged_without_itself():
    directions = torch.eye(4)[[0, 0, 1, 1]]
    labels = torch.tensor([0, 0, 1, 1])
    assert topics.share_right(directions, labels) == 1.0
    # The first text of each topic is like the second one of the other: alone it would find itself.
    assert topics.share_right(torch.eye(4)[[0, 1, 1, 0]], labels) == 0.0


def test_the_recipe_of_quotations_can_be_followed(quotations, tmp_path):
    rows = run(read_recipe(PATHS["minilm"]), tmp_path / "out", data=quotations, say=quiet)
    assert rows[0].weights == rows[-1].weights == 256
    assert rows[-1].file_bytes < rows[0].file_bytes


def test_nothing_can_be_trained_on_what_is_to_judge_by(quotations, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(PATHS["minilm"].read_text().partition("[[step]]")[0] + '[[step]]\ndo = "train"\n')
    with pytest.raises(ValueError, match="01-train: nothing can be trained on the data 'quotations'"):
        run(read_recipe(path), tmp_path / "out", data=quotations, say=quiet)


# --- readers of the user's own


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        ("no_such_package:f", "reader must be package.module:function, got 'no_such_package:f'"),
        ("builtins:dict", "cannot give data"),
        ("builtins:print", "must give a Data, got NoneType"),
    ],
)
def test_a_reader_that_gives_no_data_is_named(tmp_path, reader, said):
    path = tmp_path / "recipe.toml"
    path.write_text(f'name = "t"\nnetwork = "{OURS}:classic"\nreader = "{reader}"\n[[step]]\ndo = "train"\n')
    with pytest.raises(RecipeError, match=said):
        run(read_recipe(path), tmp_path / "out", say=quiet)


@pytest.mark.parametrize("name", PATHS)
def test_a_quick_run_trains_an_epoch_only_where_the_recipe_trains(name):
    for step in read_recipe(PATHS[name]).steps:
        epochs = step.options.get("epochs")
        assert runner._quick(step).options.get("epochs") == (epochs and 1)
