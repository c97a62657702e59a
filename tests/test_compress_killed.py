"""Runs of a recipe that are really killed, at every step, and go on to the same networks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from idx_files import write_files

from greenkernels.saving import read_tensors

HERE = Path(__file__).resolve().parent
RECIPE = """name = "t"
network = "greenkernels.compress.pipeline.networks:classic"
batch = 32
floor = 0.05
[[step]]
do = "train"
epochs = 1
[[step]]
do = "prune"
epochs = 1
amount = 0.8
[[step]]
do = "distill"
epochs = 1
[[step]]
do = "sparse"
"""
STEPS = ("01-train", "02-prune", "03-distill", "04-sparse")
EVERY = ("00-start written", *(step + end for step in STEPS for end in ("", " written")), "times")
# Each signal, at work, between the files of a step, and while times are taken.
FEW = ((signal.SIGKILL, "01-train"), (signal.SIGINT, "02-prune written"), (signal.SIGKILL, "times"))


def child(tmp_path, out, where):
    """The program; SIGINT reaches it although a shell in the background may have switched it off."""
    command = [
        sys.executable,
        HERE / "compress_child.py",
        tmp_path / "recipe.toml",
        tmp_path / "data",
        out,
        where,
    ]
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def whole(tmp_path, out):
    """Lines of a run to the end."""
    with child(tmp_path, out, "nowhere") as run:
        said, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    return [line for line in said.splitlines() if line.startswith("Row")]


def killed(tmp_path, out, kind, where):
    """Starts a run, and kills it where it waits."""
    with child(tmp_path, out, where) as run:
        for line in run.stdout:
            if line.strip() == "here":
                break
        else:
            pytest.fail(f"never came to {where}: {run.stderr.read()}")
        run.send_signal(kind)
        run.communicate(timeout=60)
    assert run.returncode not in (0, None)


def check(tmp_path, kills):
    write_files(tmp_path / "data")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    expected = whole(tmp_path, tmp_path / "whole")
    assert len(expected) == 1 + len(STEPS)
    for kind, where in kills:
        killed(tmp_path, tmp_path / "out", kind, where)
    assert whole(tmp_path, tmp_path / "out") == expected
    for step in STEPS:
        files = (tmp_path / folder / f"{step}.state.safetensors" for folder in ("whole", "out"))
        (a, _), (b, _) = map(read_tensors, files)  # in another order where a network was read again
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_networks(tmp_path):
    check(tmp_path, FEW)


@pytest.mark.long
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT], ids=["kill", "int"])
def test_it_may_be_killed_everywhere(tmp_path, kind):
    check(tmp_path, [(kind, where) for where in EVERY])
