"""Layers of ours in several processes of gloo: data, sharded data and tensor parallel, against one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
    pytest.skip("this torch has no gloo", allow_module_level=True)

from distributed_checks import CHECKS

PROGRAM = Path(__file__).with_name("distributed_checks.py")
ROOT = PROGRAM.parent.parent
LIMIT_S = 300


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.long)])
def results(request, tmp_path_factory):
    """What each process found, all checks in one start."""
    folder, processes = tmp_path_factory.mktemp("distributed"), request.param
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    outs = [folder / f"{rank}.json" for rank in range(processes)]
    running = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(rank), str(processes), str(folder / "store"), str(out)],
            env=environment,
        )
        for rank, out in enumerate(outs)
    ]
    try:
        assert [one.wait(LIMIT_S) for one in running] == [0] * processes
    finally:
        for one in running:
            one.kill()
    return [json.loads(out.read_text()) for out in outs]


@pytest.mark.parametrize("check", CHECKS)
def test_equals_one_process(results, check):
    for rank, found in enumerate(results):
        assert found[check] == "", f"process {rank}: {found[check]}"
