"""numpy on OpenBLAS, in a process of its own so that no variable of this one steers it."""

from __future__ import annotations

import torch

from ...contender import Contender
from .. import LinearTask, MatmulTask, Rival, installed
from ..worker import SERVED, Service, served

NAME = "numpy (OpenBLAS)"
GET = "pip install numpy"


def build(task: LinearTask | MatmulTask) -> Contender:
    threads = torch.get_num_threads()
    kind = "matmul" if isinstance(task, MatmulTask) else "linear"
    service = Service(NAME, SERVED / "numpy_openblas.py", environment={"OPENBLAS_NUM_THREADS": str(threads)})
    return served(service, task, {"kind": kind}, "row-major, weights not packed")


RIVALS = (
    Rival(
        name=NAME,
        about="np.matmul on the OpenBLAS in its wheel, weights as they are, in a process of its own",
        tasks=(LinearTask, MatmulTask),
        version=lambda: installed("numpy", GET),
        build=build,
        get=GET,
    ),
)
