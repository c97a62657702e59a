"""A layer in 8-bit integers as a TFLite model, float in and float out, in the form that XNNPACK takes whole."""

from __future__ import annotations

import torch

from . import CannotRun, Int8ConvTask, Int8LinearTask
from .int8_weights import layer_of, output_shape
from .task import Affine, Int8Task, affine_of, check_padding
from .tflite_model import Graph, Steps, same_padding

# Versions of the operators from which on they know integers with a scale for each channel.
LINEAR_VERSION, CONV_VERSION, DEQUANTIZE_VERSION = 9, 3, 2


def int8_graph(graph: Graph, task: Int8Task) -> bytes:
    """The serialized model.

    Raises:
        CannotRun: what is not driven here.
    """
    return _linear(graph, task) if isinstance(task, Int8LinearTask) else _conv(graph, task)


def _linear(graph: Graph, task: Int8LinearTask) -> bytes:
    """Rows of the input are quantized by XNNPACK, each by its own range."""
    values, scale, bias = layer_of(task)
    x, y = graph.tensor(task.inputs.shape), graph.tensor(output_shape(task))
    options = graph.schema.FullyConnectedOptionsT()
    options.asymmetricQuantizeInputs = True
    weight = graph.tensor(values.shape, values, Steps(scale, 0))
    graph.operator("FULLY_CONNECTED", options, [x, weight, graph.tensor(bias.shape, bias)], y, LINEAR_VERSION)
    return graph.finish([x], [y])


def _signed(by: Affine) -> Steps:
    """The same with integers of [-128, 127]."""
    return Steps(torch.tensor([by.scale]), by.zero - 128)


def _conv(graph: Graph, task: Int8ConvTask) -> bytes:
    conv, schema = task.module, graph.schema
    check_padding(conv)
    same = same_padding(conv)
    if conv.groups != 1 or not (same or not any(conv.padding)):
        raise CannotRun(
            "is driven in 8 bits without groups, and with the padding that keeps the size or none"
        )
    values, scale, bias = layer_of(task)
    batch, in_c, h, w = task.inputs.shape
    _, out_c, out_h, out_w = output_shape(task)
    by, out = _signed(affine_of(task.input_range)), _signed(affine_of(task.output_range))
    x, q = graph.tensor((batch, h, w, in_c)), graph.tensor((batch, h, w, in_c), None, by)
    y, sums = (
        graph.tensor((batch, out_h, out_w, out_c)),
        graph.tensor((batch, out_h, out_w, out_c), None, out),
    )
    bias_scale = scale * by.scale
    integers = torch.round(bias / bias_scale).to(torch.int32)
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideH, options.strideW = conv.stride
    options.dilationHFactor, options.dilationWFactor = conv.dilation
    weight = values.permute(0, 2, 3, 1)
    inputs = [
        q,
        graph.tensor(weight.shape, weight, Steps(scale, 0)),
        graph.tensor(bias.shape, integers, Steps(bias_scale, 0)),
    ]
    graph.operator("QUANTIZE", schema.QuantizeOptionsT(), [x], q)
    graph.operator("CONV_2D", options, inputs, sums, CONV_VERSION)
    graph.operator("DEQUANTIZE", schema.DequantizeOptionsT(), [sums], y, DEQUANTIZE_VERSION)
    return graph.finish([x], [y])
