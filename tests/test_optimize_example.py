"""The example runs, with and without a plan that wins."""

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/optimize_your_network.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="needs a checkout")
def test_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GREENKERNELS_CACHE", str(tmp_path))
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert "not measured" not in printed
    assert "relative difference here:" in printed
