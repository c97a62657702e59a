"""torch as it is called: both memory formats for maps, the stock product for matrices."""

from __future__ import annotations

import copy
from functools import partial

import torch

from ...contender import Contender
from ...rotation import Arguments, map_tensors
from .. import ConvTask, LinearTask, MatmulTask, NetworkTask, Rival, Task
from ..task import module_of


def in_format(memory_format: torch.memory_format, arguments: Arguments) -> Arguments:
    """The arguments with every batch of maps in that memory format; other tensors as they are."""
    return map_tensors(
        lambda tensor: tensor.contiguous(memory_format=memory_format) if tensor.dim() == 4 else tensor,
        arguments,
    )


def contiguous(arguments: Arguments) -> Arguments:
    """The arguments with every tensor in row-major order."""
    return map_tensors(torch.Tensor.contiguous, arguments)


def build(name: str, memory_format: torch.memory_format, task: Task) -> Contender:
    module = copy.deepcopy(module_of(task)).to(memory_format=memory_format)
    return Contender(
        name,
        module,
        partial(in_format, memory_format),
        version=torch.__version__,
        flags=f"eager, {str(memory_format).removeprefix('torch.')}, {torch.get_num_threads()} threads",
    )


def build_product(task: Task) -> Contender:
    call = torch.mm if isinstance(task, MatmulTask) else copy.deepcopy(task.module)
    return Contender(
        "torch", call, version=torch.__version__, flags=f"eager, {torch.get_num_threads()} threads"
    )


RIVALS = (
    Rival(
        name="torch NCHW",
        about="eager, contiguous maps",
        tasks=(ConvTask, NetworkTask),
        version=lambda: torch.__version__,
        build=partial(build, "torch NCHW", torch.contiguous_format),
    ),
    Rival(
        name="torch channels_last",
        about="eager, maps and weights in channels_last",
        tasks=(ConvTask, NetworkTask),
        version=lambda: torch.__version__,
        build=partial(build, "torch channels_last", torch.channels_last),
    ),
    Rival(
        name="torch",
        about="eager torch.mm and nn.Linear",
        tasks=(LinearTask, MatmulTask),
        version=lambda: torch.__version__,
        build=build_product,
    ),
)
