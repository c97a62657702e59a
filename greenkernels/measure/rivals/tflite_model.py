"""A layer as a TFLite model, written with the schema that ai-edge-litert brings along. Maps are NHWC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import CannotRun, ConvTask, Int8ConvTask, Int8LinearTask, LinearTask
from .task import Int8Task, check_padding, output_shape, slope_of, weights_of

SCHEMA_VERSION = 3
# Activations that a convolution takes in, and those that are an operator behind it.
FUSED = {None: "NONE", "relu": "RELU", "relu6": "RELU6"}
OPERATORS = {
    "leaky_relu": "LEAKY_RELU",
    "sigmoid": "LOGISTIC",
    "tanh": "TANH",
    "gelu": "GELU",
    "hardswish": "HARD_SWISH",
}


class Steps(NamedTuple):
    """How the integers of a tensor stand for real numbers: one scale, or one for each index of its first axis."""

    scale: Tensor  # [1] or [shape[0]]
    zero: int


class Graph:
    """A model with one subgraph, growing operator by operator; tensors are known by their index."""

    def __init__(self, schema: Any) -> None:
        self.schema, self.graph, self.model = schema, schema.SubGraphT(), schema.ModelT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.version, self.model.operatorCodes, self.model.subgraphs = SCHEMA_VERSION, [], [self.graph]
        self.model.buffers = [schema.BufferT()]  # buffer 0 stays empty: tensors without contents

    def tensor(self, shape: Sequence[int], contents: Tensor | None = None, steps: Steps | None = None) -> int:
        """A float32 tensor, one of the dtype of its contents, or, with steps and no contents, an int8 one."""
        import numpy

        made = self.schema.TensorT()
        made.name, made.shape, made.buffer = f"t{len(self.graph.tensors)}", list(shape), 0
        made.type = self.schema.TensorType.FLOAT32
        if steps is not None:
            made.type = self.schema.TensorType.INT8
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale = steps.scale.double().tolist()
            made.quantization.zeroPoint = [steps.zero] * len(steps.scale)
        if contents is not None:
            kinds = {torch.int32: self.schema.TensorType.INT32, torch.int8: self.schema.TensorType.INT8}
            made.type = kinds.get(contents.dtype, made.type)
            buffer = self.schema.BufferT()
            buffer.data = contents.contiguous().numpy().reshape(-1).view(numpy.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(self, kind: str, options: Any, inputs: list[int], output: int, version: int = 1) -> None:
        code, made = self.schema.OperatorCodeT(), self.schema.OperatorT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        self.model.operatorCodes.append(code)
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(
                self.schema.BuiltinOptions, type(options).__name__.removesuffix("T")
            )
        self.graph.operators.append(made)

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        import flatbuffers

        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def tflite_model(task: ConvTask | LinearTask | Int8Task) -> bytes:
    """The serialized model: a convolution takes and gives NHWC.

    Raises:
        CannotRun: what XNNPACK through TFLite has no operator for.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = Graph(schema)
    if isinstance(task, Int8LinearTask | Int8ConvTask):
        from .tflite_int8 import int8_graph  # which imports this module

        return int8_graph(graph, task)
    return _linear(graph, task) if isinstance(task, LinearTask) else _conv(graph, task)


def _linear(graph: Graph, task: LinearTask) -> bytes:
    weights = weights_of(task)
    x = graph.tensor(task.inputs.shape)
    inputs = [x, graph.tensor(weights["weight"].shape, weights["weight"])]
    inputs.append(graph.tensor(weights["bias"].shape, weights["bias"]) if "bias" in weights else -1)
    y = graph.tensor(output_shape(task))
    options = graph.schema.FullyConnectedOptionsT()
    options.keepNumDims = task.inputs.dim() != 2
    graph.operator("FULLY_CONNECTED", options, inputs, y)
    return graph.finish([x], [y])


def _conv(graph: Graph, task: ConvTask) -> bytes:
    conv, schema = task.module, graph.schema
    _check(task)
    weights = weights_of(task)
    batch, in_c, h, w = task.inputs.shape
    x = padded = graph.tensor((batch, h, w, in_c))
    same = same_padding(conv)
    if not same and any(conv.padding):
        pad_h, pad_w = conv.padding
        amounts = torch.tensor([[0, 0], [pad_h, pad_h], [pad_w, pad_w], [0, 0]], dtype=torch.int32)
        padded = graph.tensor((batch, h + 2 * pad_h, w + 2 * pad_w, in_c))
        graph.operator("PAD", schema.PadOptionsT(), [x, graph.tensor((4, 2), amounts)], padded)
    # weight [out_c, r, s, in_c], depthwise [1, r, s, c]; the operator wants a bias
    depthwise = conv.groups > 1
    weight = weights["weight"].permute((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
    bias = weights.get("bias", torch.zeros(conv.out_channels))
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    if depthwise:
        options.depthMultiplier = 1
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideH, options.strideW = conv.stride
    options.dilationHFactor, options.dilationWFactor = conv.dilation
    options.fusedActivationFunction = getattr(
        schema.ActivationFunctionType, FUSED.get(task.activation, "NONE")
    )
    _, out_c, out_h, out_w = output_shape(task)
    shape = (batch, out_h, out_w, out_c)
    y = graph.tensor(shape)
    inputs = [padded, graph.tensor(weight.shape, weight), graph.tensor(bias.shape, bias)]
    graph.operator("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", options, inputs, y)
    if task.activation not in FUSED:
        y = _activation(graph, task, y, shape)
    return graph.finish([x], [y])


def _activation(graph: Graph, task: ConvTask, x: int, shape: Sequence[int]) -> int:
    """Operators behind the convolution; the tensor that they make."""
    y = graph.tensor(shape)
    if task.activation == "silu":
        gate = graph.tensor(shape)
        graph.operator("LOGISTIC", None, [x], gate)
        graph.operator("MUL", graph.schema.MulOptionsT(), [x, gate], y)
        return y
    options = None
    if task.activation == "leaky_relu":
        options = graph.schema.LeakyReluOptionsT()
        options.alpha = slope_of(task).item()
    graph.operator(OPERATORS[task.activation], options, [x], y)
    return y


def _check(task: ConvTask) -> None:
    conv = task.module
    check_padding(conv)
    if conv.groups != 1 and not conv.groups == conv.in_channels == conv.out_channels:
        raise CannotRun("is driven with one group or one a channel here")
    if task.activation not in (*FUSED, *OPERATORS, "silu"):
        raise CannotRun(f"is not driven with {task.activation} here")


def same_padding(conv: torch.nn.Conv2d) -> bool:
    """True if TFLite's SAME padding is this one: stride 1, half the extent of the kernel on each side."""
    halves = tuple(d * (k - 1) / 2 for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    return conv.stride == (1, 1) and conv.padding == halves
