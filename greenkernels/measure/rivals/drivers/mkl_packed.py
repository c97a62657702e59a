"""MKL with weights in its packed form, as inductor calls it for linear layers."""

from __future__ import annotations

import torch

from ...contender import Contender
from .. import CannotRun, LinearTask, Rival
from ..task import weights_of

NAME = "MKL packed"


def version() -> str:
    if not torch.backends.mkl.is_available():
        raise CannotRun("this torch was built without MKL")
    return torch.__version__


def build(task: LinearTask) -> Contender:
    weights, rows = weights_of(task), task.inputs.numel() // task.module.in_features
    weight, bias = weights["weight"], weights.get("bias")
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)

    def call(x: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkl._mkl_linear(x, packed, weight, bias, rows)

    flags = f"weights packed for {rows} rows, {torch.get_num_threads()} threads"
    return Contender(NAME, call, version=torch.__version__, flags=flags)


RIVALS = (
    Rival(
        name=NAME,
        about="torch.ops.mkl._mkl_linear with weights packed for the number of rows",
        tasks=(LinearTask,),
        version=version,
        build=build,
    ),
)
