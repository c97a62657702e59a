"""The step "search" of a recipe: a method for each layer, kept while it goes, and what it says where it cannot be."""

import pytest
from idx_files import write_files
from test_compress_pipeline import HEAD, again, no_clock, quiet, recipe  # noqa: F401  no_clock is a fixture

from greenkernels.compress.pipeline import evaluation, run, steps
from greenkernels.compress.pipeline.data import load


@pytest.fixture
def data(tmp_path):
    return write_files(tmp_path / "data")


def test_a_search_gives_each_layer_its_method_and_goes_on(tmp_path, data, monkeypatch):
    text = '[[step]]\ndo = "search"\nmethods = ["int8", "sparse 0.9", "winograd_conv2d"]\nlost = 1.0\n'
    head = HEAD.replace(":classic", ":residual")
    made = recipe(tmp_path, text, head)
    asked = []
    accuracy = steps.accuracy

    def stopped(model, data):
        asked.append(model)
        if len(asked) == 8:
            raise KeyboardInterrupt
        return accuracy(model, data)

    monkeypatch.setattr(steps, "accuracy", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path / "out", data=data, say=quiet)
    assert len(list((tmp_path / "out").glob("01-search.notes-*.json"))) == 1
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path / "out", data=data, quick=True, say=quiet)
    assert len(asked) == 8  # what is known of all of the data is not taken for a part of it
    asked.append(None)
    rows = run(made, tmp_path / "out", data=data, say=quiet)
    assert rows[1].file_bytes < rows[0].file_bytes / 3
    last = again(made, tmp_path / "out" / "01-search")
    assert any(type(m).__module__.startswith("greenkernels.nn") for m in last.modules())
    assert evaluation.accuracy(last, load(data)) == rows[1].accuracy
    whole = run(made, tmp_path / "whole", data=data, say=quiet)
    assert rows == whole


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('cost = "watts"', "01-search: cost must be one of bytes, joules, seconds, got 'watts'"),
        ('methods = ["int3"]', "01-search: sensitivity: methods must be"),
        ("budget = 1.0\nlost = 0.0", "01-search: search: budget must be at least"),
    ],
)
def test_a_search_that_cannot_be_is_named(tmp_path, data, options, said):
    made = recipe(
        tmp_path,
        f'[[step]]\ndo = "search"\nmethods = ["int8"]\n{options}\n'.replace(
            'methods = ["int8"]\nmethods', "methods"
        ),
    )
    with pytest.raises(ValueError, match=said):
        run(made, tmp_path / "out", data=data, say=quiet)
