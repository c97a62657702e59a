"""onnxruntime on its CPU provider: all graph optimizations (blocked NCHWc convolutions), weights packed at load."""

from __future__ import annotations

import torch

from ...contender import Contender
from .. import (
    ConvTask,
    Int8ConvTask,
    Int8LinearTask,
    LinearTask,
    MatmulTask,
    NetworkTask,
    Rival,
    Task,
    installed,
)
from ..onnx_model import onnx_model
from .torch_eager import contiguous

NAME = "onnxruntime"
GET = "pip install onnx onnxruntime"


def build(task: Task) -> Contender:
    import onnxruntime

    threads = torch.get_num_threads()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(onnx_model(task), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def call(*arguments: torch.Tensor):
        feeds = {name: tensor.numpy() for name, tensor in zip(names, arguments, strict=True)}
        outputs = [torch.from_numpy(output) for output in session.run(None, feeds)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    return Contender(
        NAME,
        call,
        contiguous,
        version=onnxruntime.__version__,
        flags=f"CPU provider, ORT_ENABLE_ALL, row-major in and out, {threads} threads",
    )


RIVALS = (
    Rival(
        name=NAME,
        about="CPU provider, all graph optimizations; maps in and out in NCHW, its blocked layout inside",
        tasks=(ConvTask, LinearTask, MatmulTask, NetworkTask, Int8LinearTask, Int8ConvTask),
        version=lambda: installed("onnxruntime", GET),
        build=build,
        get=GET,
    ),
)
