"""A task as an ONNX model, for the rivals that read one."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import torch

from . import CannotRun, ConvTask, Int8ConvTask, Int8LinearTask, MatmulTask, NetworkTask, Task, installed
from .int8_weights import onnx_int8_model
from .task import check_padding, slope_of, weights_of

GET = "pip install onnx"


def conv_spec(task: ConvTask) -> dict[str, Any]:
    """What ``served/onnx_graph.py`` wants to know of a convolution.

    Raises:
        CannotRun: padding other than with zeros, given in numbers; an activation with a slope a channel.
    """
    module = task.module
    check_padding(module)
    if task.activation == "prelu":
        raise CannotRun("is not driven with prelu here")
    return {
        "padding": list(module.padding),
        "stride": list(module.stride),
        "dilation": list(module.dilation),
        "groups": module.groups,
        "activation": task.activation,
        "slope": slope_of(task).item() if task.activation == "leaky_relu" else None,
    }


def onnx_model(task: Task, dynamic: bool = True) -> bytes:
    """The serialized model; inputs in the order of the task's, one output "y" except for networks.

    Args:
        task: the work.
        dynamic: of a linear layer in 8 bits, whether the scale of the input is found in each call.

    Raises:
        CannotRun: onnx is not installed, or the task cannot be put into it.
    """
    installed("onnx", GET)
    if isinstance(task, NetworkTask):
        return export(task)
    if isinstance(task, Int8LinearTask | Int8ConvTask):
        return onnx_int8_model(task, dynamic)
    from .served import onnx_graph

    weights = {name: tensor.numpy() for name, tensor in weights_of(task).items()}
    if isinstance(task, MatmulTask):
        return onnx_graph.matmul_model(list(task.a.shape), list(task.b.shape))
    layer, shape = (weights["weight"], weights.get("bias")), list(task.inputs.shape)
    if isinstance(task, ConvTask):
        return onnx_graph.conv_model(conv_spec(task), *layer, shape)
    return onnx_graph.linear_model(*layer, shape)


def export(task: NetworkTask) -> bytes:
    """torch's exporter by tracing, which needs nothing but onnx; what it prints is dropped."""
    made = io.BytesIO()
    silent = contextlib.redirect_stdout(io.StringIO())
    with torch.no_grad(), warnings.catch_warnings(), silent:
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(task.network, task.inputs, made, dynamo=False, opset_version=17)
        except Exception as error:  # the exporter refuses in many ways
            first = (str(error).strip().splitlines() or [""])[0]
            raise CannotRun(f"torch.onnx.export: {type(error).__name__}: {first}") from None
    return made.getvalue()
