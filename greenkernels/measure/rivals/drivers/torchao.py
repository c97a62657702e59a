"""torchao: a linear layer with an int8 weight and int8 inputs quantized row by row, compiled as its authors say."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

from ...contender import Contender
from .. import Int8LinearTask, Rival, installed
from .torch_eager import contiguous

NAME = "torchao"
GET = "pip install torchao"


def build(task: Int8LinearTask) -> Contender:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of missing CUDA extensions
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        network = nn.Sequential(copy.deepcopy(task.module)).eval()
        quantize_(network, Int8DynamicActivationInt8WeightConfig())
        compiled = torch.compile(network)
        with torch.inference_mode():
            compiled(task.inputs)  # compiles now
    flags = f"Int8DynamicActivationInt8WeightConfig, torch.compile, {torch.get_num_threads()} threads"
    return Contender(NAME, compiled, contiguous, version=installed("torchao", GET), flags=flags)


RIVALS = (
    Rival(
        name=NAME,
        about="a Linear with int8 weight and inputs quantized row by row, through torch.compile",
        tasks=(Int8LinearTask,),
        version=lambda: installed("torchao", GET),
        build=build,
        get=GET,
    ),
)
