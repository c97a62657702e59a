"""deepsparse 1.8.0, the last with a wheel: closed, no longer maintained, and still the fastest on some convolutions.

It pins old versions of numpy and onnx, so it lives in a Python of its own, which a variable names.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache

from ...contender import Contender
from .. import CannotRun, ConvTask, LinearTask, Rival
from ..onnx_model import conv_spec
from ..worker import SERVED, Service, served

NAME = "deepsparse"
PYTHON = "GREENKERNELS_PEER_DEEPSPARSE_PYTHON"
GET = (
    "python3.11 -m venv ~/deepsparse && ~/deepsparse/bin/pip install deepsparse==1.8.0 && "
    f"export {PYTHON}=~/deepsparse/bin/python"
)
VERSION = "from importlib.metadata import version; print(version('deepsparse'))"


def version() -> str:
    python = os.environ.get(PYTHON)
    if not python:
        raise CannotRun(f"needs a Python of its own: {GET}")
    return version_in(os.path.expanduser(python))


@cache
def version_in(python: str) -> str:
    """Its version in that Python. Raises CannotRun where that is no Python, or has no deepsparse."""
    try:
        done = subprocess.run([python, "-c", VERSION], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"{PYTHON}={python} does not run: {error}") from None
    if done.returncode != 0:
        raise CannotRun(f"{PYTHON}={python} has no deepsparse: {GET}")
    return done.stdout.strip()


def build(task: ConvTask | LinearTask) -> Contender:
    python = os.path.expanduser(os.environ[PYTHON])
    service = Service(NAME, SERVED / "deepsparse_engine.py", python)
    if isinstance(task, ConvTask):
        return served(service, task, {"kind": "conv", "conv": conv_spec(task)}, "NCHW in and out")
    return served(service, task, {"kind": "linear"}, "row-major, weights packed")


RIVALS = (
    Rival(
        name=NAME,
        about="its engine on an ONNX layer, in a process of its own with a Python of its own",
        tasks=(ConvTask, LinearTask),
        version=version,
        build=build,
        get=GET,
    ),
)
