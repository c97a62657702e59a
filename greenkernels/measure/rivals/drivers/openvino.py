"""OpenVINO on the CPU: latency mode, one stream, float32 kept."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from ...contender import Contender
from .. import ConvTask, LinearTask, MatmulTask, NetworkTask, Rival, Task, installed
from ..onnx_model import onnx_model
from .torch_eager import contiguous

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


def build(task: Task) -> Contender:
    import openvino

    threads = torch.get_num_threads()
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else bf16 where the CPU has it
    }
    core = openvino.Core()
    model = core.read_model(io.BytesIO(onnx_model(task)))
    compiled = core.compile_model(model, "CPU", options)
    call = partial(infer, compiled.create_infer_request(), [output.shape for output in compiled.outputs])
    return Contender(
        NAME,
        call,
        contiguous,
        version=openvino.__version__.partition("-")[0],
        flags=f"LATENCY, 1 stream, f32, row-major in and out, {threads} threads",
    )


RIVALS = (
    Rival(
        name=NAME,
        about="CPU plugin in latency mode, one stream, float32; maps in and out in NCHW, its own layout inside",
        tasks=(ConvTask, LinearTask, MatmulTask, NetworkTask),
        version=lambda: installed("openvino", GET),
        build=build,
        get=GET,
    ),
)
