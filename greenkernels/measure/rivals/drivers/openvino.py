"""OpenVINO on the CPU: latency mode, one stream, float32 kept."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import Any

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
from .torch_eager import contiguous, in_format

NAME = "OpenVINO"
GET = "pip install onnx openvino"


def infer(request: Any, shapes: Sequence[Sequence[int]], *arguments: torch.Tensor) -> Any:
    """One call on the caller's memory: inputs are read where they lie, outputs written where torch allocates them."""
    from openvino import Tensor

    outputs = [torch.empty(*shape) for shape in shapes]
    for i, tensor in enumerate(arguments):
        request.set_input_tensor(i, Tensor(tensor.numpy(), shared_memory=True))
    for i, tensor in enumerate(outputs):
        request.set_output_tensor(i, Tensor(tensor.numpy(), shared_memory=True))
    request.infer()
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def in_nhwc(model: Any) -> Any:
    """The model with maps in and out in NHWC: 10 to 30 % faster on one 3x3 layer (64 to 256 channels, one AVX-512
    Xeon core) than from and to NCHW."""
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    for end in (steps.input(), steps.output()):
        end.tensor().set_layout(Layout("NHWC"))
        end.model().set_layout(Layout("NCHW"))
    return steps.build()


def build(task: Task) -> Contender:
    import openvino

    threads, nhwc = torch.get_num_threads(), isinstance(task, ConvTask | Int8ConvTask)
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else bf16 where the CPU has it
    }
    core = openvino.Core()
    model = core.read_model(io.BytesIO(onnx_model(task, dynamic=False)))
    compiled = core.compile_model(in_nhwc(model) if nhwc else model, "CPU", options)
    call = partial(infer, compiled.create_infer_request(), [output.shape for output in compiled.outputs])
    return Contender(
        NAME,
        (lambda x: call(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)) if nhwc else call,
        partial(in_format, torch.channels_last) if nhwc else contiguous,
        version=openvino.__version__.partition("-")[0],
        flags=f"LATENCY, 1 stream, f32, {'NHWC' if nhwc else 'row-major'} in and out, {threads} threads",
    )


RIVALS = (
    Rival(
        name=NAME,
        about="CPU plugin in latency mode, one stream, float32; a layer's maps in and out in NHWC",
        tasks=(ConvTask, LinearTask, MatmulTask, NetworkTask, Int8LinearTask, Int8ConvTask),
        version=lambda: installed("openvino", GET),
        build=build,
        get=GET,
    ),
)
