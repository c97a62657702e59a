"""The fuzzer: a slice of its cases is right, wrong kernels are caught, every op has cases, runs go on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conv_cases import COMPILED

from greenkernels import ops

FOLDER = Path(__file__).resolve().parents[1] / "tools" / "fuzz"
pytestmark = pytest.mark.skipif(not COMPILED, reason="compares compiled kernels")
# Without cases of their own, and where they are held to float64.
ELSEWHERE = {
    "choose_levels": "a number, no kernel",
    "tune_levels": "a number, no kernel",
    "int8_winograd_conv2d": "test_int8_winograd_conv2d.py",
    "separable_conv2d": "test_separable_conv2d.py",
}
WRONG = {  # what a broken kernel would give in the place of a result
    "nothing written last": lambda out: _changed(out, -1, torch.nan if out.is_floating_point() else 77),
    "one element off": lambda out: _changed(
        out, out.numel() // 2, out.flatten()[out.numel() // 2] * 1.01 + 1
    ),
    "shifted by one": lambda out: out.flatten().roll(1).view(out.shape),
    "a term left out": None,  # of the sums, by clearing an input
}


def _changed(out, index, value):
    flat = out.flatten().clone()
    flat[index] = value
    return flat.view(out.shape)


@pytest.fixture
def fuzz(monkeypatch):
    """The module of the command, and the number of threads as it was."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()
    import importlib.util

    spec = importlib.util.spec_from_file_location("fuzz_command", FOLDER / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    torch.set_num_threads(threads)


def test_a_slice_is_right(fuzz):
    wrong = {name: reason for name in fuzz.strata()[:600] if (reason := fuzz.tried(name + ":0"))}
    assert not wrong


def test_every_op_has_cases(fuzz):
    suffixes = ("_packed", "_pack", "_unpack")
    stems = {name.removesuffix(next((s for s in suffixes if name.endswith(s)), "")) for name in ops.__all__}
    assert stems - set(fuzz.MAKERS) == set(ELSEWHERE)


@pytest.mark.parametrize("how", WRONG)
def test_wrong_kernels_are_caught(fuzz, how):
    caught = dict.fromkeys(fuzz.MAKERS, 0)
    for name in (
        f"{op}/scalar/{dtypes[0]}/prime/contiguous:{i}"
        for op, (_, dtypes) in fuzz.MAKERS.items()
        for i in range(12)
    ):
        case, _, _ = fuzz.drawn(name)
        assert fuzz.fault(case, case.run(case.x)) is None
        if WRONG[how]:
            out = WRONG[how](case.run(case.x))
        else:
            part = case.x.clone(memory_format=torch.contiguous_format)
            part.select(1, part.shape[1] // 2).zero_()
            out = case.run(part)
        caught[name.partition("/")[0]] += fuzz.fault(case, out) is not None
    assert min(caught.values()) >= 6, caught  # not all: what is not finite, or 0 times anything, hides some


def test_a_wrong_case_prints_what_runs_it_again(fuzz, monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "tried", lambda name: "wrong" if name.endswith(":0") else None)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--cases", "3"])
    assert fuzz.main() == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"python tools/fuzz --case {fuzz.strata()[0]}:0  # wrong"
    done = subprocess.run(
        [sys.executable, *first.split("#")[0].split()[1:]], cwd=FOLDER.parents[1], check=False
    )
    assert done.returncode == 0  # the case is right when it is not called wrong


def test_a_recorded_run_goes_on(fuzz, monkeypatch, tmp_path):
    monkeypatch.setattr(fuzz, "RESULTS", tmp_path / "fuzz.json")
    seen = []
    monkeypatch.setattr(fuzz, "tried", lambda name: seen.append(name))
    monkeypatch.setattr(sys, "argv", ["fuzz", "--cases", "5", "--record"])
    assert fuzz.main() == fuzz.main() == 0
    result = json.loads((tmp_path / "fuzz.json").read_text())
    assert len(set(seen)) == result["cases"] == sum(result["cases_by_op_isa_dtype"].values()) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["fuzz.json"]
