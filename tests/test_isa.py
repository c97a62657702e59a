"""The instruction sets of the compiled kernels, and forcing one."""

import os
import subprocess
import sys

import pytest
import torch

from greenkernels import _isa

ORDER = ("scalar", "avx2", "avx512", "neon")

needs_kernels = pytest.mark.skipif(not _isa.levels(), reason="no compiled kernels")


@needs_kernels
def test_levels_are_ascending_and_the_highest_is_in_use():
    levels = _isa.levels()
    assert levels == tuple(name for name in ORDER if name in levels)
    if not os.environ.get("GREENKERNELS_ISA"):
        assert _isa.current() == levels[-1]


@needs_kernels
def test_forced_holds_within_the_block_only():
    before = _isa.current()
    for level in _isa.levels():
        with _isa.forced(level):
            assert _isa.current() == level
    assert _isa.current() == before
    with pytest.raises(ZeroDivisionError), _isa.forced("scalar"):
        1 / 0  # noqa: B018
    assert _isa.current() == before


@needs_kernels
def test_unknown_levels_are_refused():
    with pytest.raises(ValueError, match=r"level must be one of scalar.*, got 'sse'"), _isa.forced("sse"):
        pass
    with pytest.raises(ValueError, match=r"isa must be one of scalar.* on this CPU, got sse"):
        torch.ops.greenkernels.set_isa("sse")


@needs_kernels
def test_vnni_is_off_within_the_block_only():
    before = torch.ops.greenkernels.vnni()
    with _isa.without_vnni():
        assert not torch.ops.greenkernels.vnni()
    assert torch.ops.greenkernels.vnni() == before
    with _isa.forced("scalar"):
        assert not torch.ops.greenkernels.vnni()


@needs_kernels
@pytest.mark.parametrize(
    ("level", "message"), [("scalar", ""), ("sse", "GREENKERNELS_ISA must be one of scalar")]
)
def test_the_environment_chooses_the_first_level(level, message):
    code = "import greenkernels, torch; from greenkernels import _isa; _isa.levels(); print(_isa.current())"
    env = {**os.environ, "GREENKERNELS_ISA": level, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (message in done.stderr) if message else (done.stdout.strip() == level)


@needs_kernels
def test_the_doctor_names_a_level_that_is_not_there():
    env = {**os.environ, "GREENKERNELS_ISA": "sse", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "greenkernels", "doctor"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert "GREENKERNELS_ISA must be one of scalar" in done.stdout
    assert "to mend it: unset GREENKERNELS_ISA" in done.stdout
