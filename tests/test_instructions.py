"""bench/instructions.py: what counts instructions, what it says where nothing can, and the counts themselves."""

import importlib.util
import os
import shutil
import sys
import types
from pathlib import Path

import pytest

from greenkernels import _jit, _toolchain

pytest.importorskip("numpy")
SCRIPT = Path(__file__).resolve().parent.parent / "bench" / "instructions.py"
if not SCRIPT.exists():
    pytest.skip("needs a checkout", allow_module_level=True)
SETUP = (
    "x = np.ones((1, 32, 14, 14), np.float32); "
    "packed = {t: raw.winograd_conv2d_pack(np.ones((32, 32, 3, 3), np.float32), tile=t) for t in (2, 4)}"
)
STATEMENT = "raw.winograd_conv2d(x, packed[%d], out_channels=32, padding=(1, 1), tile=%d)"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("instructions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def raw():
    """A stand-in: levels and threads, and no kernels."""
    state = {"isa": "avx2", "threads": 2}

    def swap(name, value):
        before, state[name] = state[name], value
        return before

    return types.SimpleNamespace(
        __file__="nowhere.so",
        set_isa=lambda level: swap("isa", level),
        num_threads=lambda: state["threads"],
        set_num_threads=lambda count: swap("threads", count),
        state=state,
    )


def no_counter(script):
    def refuse(*_):
        raise script.NoCounter("no counter here")

    return refuse


def test_the_counter_counts_or_says_why_not(script):
    try:
        counter = script.Counter()
    except script.NoCounter:
        with pytest.raises(script.NoCounter, match="perf_event"):
            script.Counter()
        return
    few, many = (counter.of(lambda n=n: sum(range(n))) for n in (1000, 100_000))
    assert many > 10 * few > 0


def test_without_any_counter_there_is_a_time_and_a_reason(script, raw, monkeypatch):
    monkeypatch.setattr(script, "Counter", no_counter(script))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    seconds, count, source = script.row(raw, "scalar", "a = np.ones(3)", "a.sum()", 2)
    assert seconds > 0
    assert (count, source) == (None, "no counter here; valgrind is missing")
    assert raw.state == {"isa": "avx2", "threads": 2}  # as they were


def test_valgrind_counts_what_more_calls_take(script, raw, monkeypatch):
    monkeypatch.setattr(script, "Counter", no_counter(script))
    monkeypatch.setattr(
        script, "under_valgrind", lambda tool, child: f"==1== I   refs:      {1000 + 7 * int(child[-1]):,}\n"
    )
    assert script.row(raw, "avx2", "", "1 + 1", 10)[1:] == (7.0, "valgrind")


def test_a_process_that_fails_under_valgrind_says_why(script, tmp_path, monkeypatch):
    program = tmp_path / "valgrind"
    program.write_text(
        "#!/bin/sh\necho '==1== summary' >&2\necho 'ValueError: level' >&2\necho '==1== end' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(script.NoCounter, match=r"^valgrind: ValueError: level$"):
        script.under_valgrind((), ("library", "avx2", "", "", "1"))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
def test_larger_tiles_take_fewer_instructions(script):
    try:
        _jit.check()
        _toolchain.raw_extension()
    except _toolchain.BuildError as error:
        pytest.skip(str(error))
    library = script.load_raw().__file__
    small, large = (script.by_valgrind(library, "avx2", SETUP, STATEMENT % (t, t), 5) for t in (2, 4))
    assert 0 < large < small
    assert large == script.by_valgrind(library, "avx2", SETUP, STATEMENT % (4, 4), 5)
    assert "instructions" not in sys.modules
