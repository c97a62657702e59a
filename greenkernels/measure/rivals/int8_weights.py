"""What int8 rivals are given of a layer: the same integers and scales that our kernels take."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...nn.int8_weights import quantize_weight
from .task import Int8ConvTask, Int8LinearTask, Int8Task, affine_of, check_padding


def layer_of(task: Int8Task) -> tuple[Tensor, Tensor, Tensor]:
    """Integers, one scale for each output, and the bias, 0 where there is none."""
    values, scale = quantize_weight(task.module.weight)
    bias = torch.zeros(len(scale)) if task.module.bias is None else task.module.bias.detach().float()
    return values, scale, bias


def output_shape(task: Int8Task) -> list[int]:
    with torch.inference_mode():
        return list(task.module(task.inputs).shape)


def onnx_int8_model(task: Int8Task, dynamic: bool) -> bytes:
    """The serialized model; `dynamic` asks for a linear layer that finds the scale of its input in each call."""
    from .served import onnx_int8_graph

    layer = [part.numpy() for part in layer_of(task)]
    shape, by = list(task.inputs.shape), affine_of(task.input_range)
    if isinstance(task, Int8LinearTask):
        if dynamic:
            return onnx_int8_graph.dynamic_linear_model(*layer, shape)
        return onnx_int8_graph.static_linear_model(*layer, shape, by.scale, by.zero)
    return onnx_int8_graph.conv_model(_conv_spec(task), *layer, shape)


def _conv_spec(task: Int8ConvTask) -> dict[str, Any]:
    module, by, out = task.module, affine_of(task.input_range), affine_of(task.output_range)
    check_padding(module)
    return {
        **{"padding": list(module.padding), "stride": list(module.stride), "dilation": list(module.dilation)},
        **{"groups": module.groups, "step": by.scale, "zero": by.zero},
        **{"out_step": out.scale, "out_zero": out.zero, "out_shape": output_shape(task)},
    }
