"""The example of energy runs on any machine."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/measure_energy.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="needs a checkout")
def test_example_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "0.05"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert "model: can be read" in printed
    assert "mJ a call" in printed
    assert "an epoch of 4 steps: " in printed
    assert "could not count" not in printed
