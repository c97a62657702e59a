"""The fuzzer: a slice of its cases is right, wrong kernels are caught, crashes are named, runs go on."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conv_cases import COMPILED

from greenkernels import _isa, nn, ops

FOLDER = Path(__file__).resolve().parents[1] / "tools" / "fuzz"
sys.path.append(str(FOLDER))
import cases  # noqa: E402
import children  # noqa: E402
import record  # noqa: E402
from verdicts import Verdict  # noqa: E402

pytestmark = [
    pytest.mark.skipif(not COMPILED, reason="compares compiled kernels"),
    pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:Initializing zero-element"),
]
# Without cases of their own, and why.
ELSEWHERE = {
    "choose_levels": "a number, no kernel",
    "tune_levels": "a number, no kernel",
    "FoldedConv2d": "torch's own convolution",
}
WRONG = {  # what a broken kernel would give in the place of a result
    "nothing written last": lambda out: _changed(out, -1, torch.nan if out.is_floating_point() else 77),
    "one element off": lambda out: _changed(
        out, out.numel() // 2, out.flatten()[out.numel() // 2] * 1.01 + 1
    ),
    "shifted by one": lambda out: out.flatten().roll(1).view(out.shape),
    "summed in 16 bits": lambda out: out.to(torch.bfloat16).to(out.dtype),
    "a term left out": None,  # of the sums, by clearing an input
}


def _changed(out, index, value):
    flat = out.flatten().clone()
    flat[index] = value
    return flat.view(out.shape)


@pytest.fixture(autouse=True)
def _as_before():
    """The number of threads and the instruction set as they were."""
    threads, level, vnni = torch.get_num_threads(), _isa.current(), torch.ops.greenkernels.set_vnni(True)
    yield
    torch.set_num_threads(threads)
    torch.ops.greenkernels.set_isa(level)
    torch.ops.greenkernels.set_vnni(vnni)


def wrong_of(op, number, **options):
    return {name: why for name, why in cases.cases(cases.draw_of(op, number), **options) if why}


@pytest.mark.parametrize("op", cases.MAKERS)
def test_a_slice_is_right(op):
    assert not [wrong for number in range(24) if (wrong := wrong_of(op, number))]


def test_every_op_and_module_has_cases():
    suffixes = ("_packed", "_pack", "_unpack")
    stems = {name.removesuffix(next((s for s in suffixes if name.endswith(s)), "")) for name in ops.__all__}
    assert (stems | set(nn.__all__)) - set(cases.MAKERS) == set(ELSEWHERE)
    assert record.kernels_of(tuple(cases.MAKERS)).keys() == cases.MAKERS.keys()


@pytest.mark.parametrize("how", WRONG)
def test_wrong_kernels_are_caught(how):
    caught = dict.fromkeys(cases.MAKERS, 0)
    for op, number in ((op, number) for op in cases.MAKERS for number in range(12)):
        problem = cases.Draw(op, cases.MAKERS[op][1][0], "prime", number).problem
        verdict, out = Verdict(problem, problem.x), problem.calls[0](problem.x)
        assert verdict.fault(out) is None
        if WRONG[how]:
            out = WRONG[how](out)
        else:
            part = problem.x.clone()
            part.select(1, part.shape[1] // 2).zero_()
            out = problem.calls[0](part)
        caught[op] += verdict.fault(out) is not None
    assert min(caught.values()) >= 6, caught  # not all: what is not finite, or 0 times anything, hides some


def test_what_a_kernel_leaves_out_is_not_what_the_case_before_it_wrote():
    """Results lie in memory of earlier ones, which were right."""
    out = torch.ones(70, 3)
    view = out[:, :2]
    cases.poison(view)
    assert (out == 1).all()  # not its own memory
    cases.poison(out)
    assert out.isnan().all()


def test_a_changed_argument_is_found(monkeypatch):
    before = cases.Draw.__init__

    def changes(draw, *parts):
        before(draw, *parts)
        call = draw.problem.calls[0]
        draw.problem.calls = [lambda x: (call(x), x.fill_(3))[0]]

    monkeypatch.setattr(cases.Draw, "__init__", changes)
    found = dict(cases.cases(("sgemm", "float32", "prime", 0)))
    assert "the argument was changed" in found.values()


def test_what_cannot_be_drawn_is_named(monkeypatch):
    def fails(*_):
        raise RuntimeError("packing failed\nat length")

    monkeypatch.setitem(cases.MAKERS, "sgemm", (fails, ("float32",)))
    assert dict(cases.cases(("sgemm", "float32", "one", 5))) == {
        "sgemm/float32/one:5": "RuntimeError: packing failed"
    }


def test_a_case_runs_again_by_its_name(monkeypatch, capsys):
    draw = cases.draw_of("sgemm", 3)
    names = [name for name, _ in cases.cases(draw)]
    for name in (names[-1], cases.named(draw)):
        assert cases.tried(name) == {}
    with pytest.raises(ValueError, match=r"case must be one that this CPU has, as .*, got sgemm/neon"):
        cases.tried(names[0].replace("scalar", "neon"))
    done = subprocess.run(
        [sys.executable, FOLDER, "--case", names[0]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
    monkeypatch.setattr(
        cases, "run", lambda _verdict, _problem, _x, name: "off" if name == names[1] else None
    )
    assert cases.tried(names[1]) == cases.tried(cases.named(draw)) == {names[1]: "off"}


CHILD = """
import os, sys
sys.path[:0] = [{folder!r}, {tests!r}]
import cases, children
run, begin = cases.run, cases.Draw
def dies(verdict, problem, x, name):
    if name.startswith("sgemm/scalar/float32/one/contiguous"):
        {end}
    return run(verdict, problem, x, name)
cases.run = dies
children.serve(sys.argv[1])
"""


def child_that(end):
    """A child process that does this in the place of some cases."""
    return CHILD.format(folder=str(FOLDER), tests=str(FOLDER.parent.parent / "tests"), end=end)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("import ctypes; ctypes.string_at(0)", "killed by SIGSEGV"),
        pytest.param("os._exit(3)", "exit status 3", marks=pytest.mark.long),
        ("import time; time.sleep(600)", "killed: took more than 2 seconds, or all memory"),
    ],
)
def test_a_case_that_ends_its_process_is_named_and_the_others_run(end, reason, monkeypatch):
    monkeypatch.setattr(children, "_STILL", 2)
    draw = next(n for n in range(99) if cases.draw_of("sgemm", n)[1:3] == ("float32", "one"))
    child = children.Child([sys.executable, "-c", child_that(end)])
    try:
        found = child.results("sgemm", draw, draw + 2)
    finally:
        child.close()
    assert found["wrong"] == {f"sgemm/scalar/float32/one/contiguous:{draw}": reason}
    expected = [n for number in (draw, draw + 1) for n, _ in cases.cases(cases.draw_of("sgemm", number))]
    assert sum(found["counts"].values()) == len(expected) - 1


@pytest.fixture
def kernels():
    return record.kernels_of(tuple(cases.MAKERS))


def test_a_recorded_run_goes_on(tmp_path, kernels):
    path = tmp_path / "fuzz.json"
    for _ in range(2):
        run = record.Record(kernels, path)
        run.add("sgemm", 32, {"avx2/float32/one/contiguous": 5, "avx2/float32/prime/huge": 2}, {})
        run.write()
    result = json.loads(path.read_text())
    assert (result["cases"], result["strata"], result["least_per_stratum"]) == (14, 2, 4)
    assert result["ops"]["sgemm"]["draws"] == 64
    assert [run["cases"] for run in result["runs"]] == [14]
    assert {"date", "commit", "build", "machine", "seconds"} < set(result["runs"][0])
    assert [file.name for file in tmp_path.iterdir()] == ["fuzz.json"]


def test_results_of_other_kernels_are_not_added_up(tmp_path, kernels):
    path = tmp_path / "fuzz.json"
    run = record.Record(kernels, path)
    for op in ("sgemm", "direct_conv2d"):
        run.add(op, 32, {"avx2/float32/one/contiguous": 5}, {f"{op}/avx2/float32/one/contiguous:0": "off"})
    run.write()
    run = record.Record({**kernels, "sgemm": "another"}, path)
    run.write()
    result = json.loads(path.read_text())
    assert result["cases"] == result["ops"]["direct_conv2d"]["cases"] == 5
    assert list(result["wrong"]) == ["direct_conv2d/avx2/float32/one/contiguous:0"]
    (former,) = result["former"]
    assert (former["op"], former["kernels"], former["cases"]) == ("sgemm", kernels["sgemm"], 5)


ONLY = ("fuzz", "--only", "sgemm", "--cases", "800", "--processes", "2")


def test_the_command_runs_cases_in_processes():
    done = subprocess.run(
        [sys.executable, FOLDER, *ONLY[1:]], capture_output=True, text=True, check=False, timeout=600
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_command_says_how_a_wrong_case_runs_again(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("fuzz_command", FOLDER / "__main__.py")
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    monkeypatch.setattr(command, "CHILD", (sys.executable, "-c", child_that('return "off"')))
    monkeypatch.setattr(sys, "argv", list(ONLY))
    assert command.main() == 1
    said = [line.split(":")[0] + line[line.index("  #") :] for line in capsys.readouterr().out.splitlines()]
    assert set(said) == {"python tools/fuzz --case sgemm/scalar/float32/one/contiguous  # off"}
