"""The example of distributed training, on two processes of torchrun."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/distributed_training.py"


@pytest.mark.skipif(
    not EXAMPLE.exists() or not torch.distributed.is_available(),
    reason="needs a checkout and torch.distributed",
)
def test_example_runs():
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        (sys.executable, *launcher, str(EXAMPLE)),
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "on 2 process(es)" in done.stdout
    assert "weights are 0.0e+00 apart" in done.stdout
    assert "J communication" in done.stdout
    assert "could not count" not in done.stdout


@pytest.mark.skipif(
    not EXAMPLE.exists() or not torch.distributed.is_available() or not Path("/proc/self/task").exists(),
    reason="needs a checkout, torch.distributed and Linux",
)
def test_no_thread_of_the_group_outlives_the_example():
    code = (
        "import pathlib, runpy, sys\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')\n"
        "print({path.read_text().strip() for path in pathlib.Path('/proc/self/task').glob('*/comm')})"
    )
    env = {k: v for k, v in os.environ.items() if k != "RANK"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        (sys.executable, "-c", code, str(EXAMPLE)),
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "gloo" not in done.stdout.splitlines()[-1]
