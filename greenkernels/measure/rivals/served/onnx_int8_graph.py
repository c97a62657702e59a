"""One layer in 8-bit integers as an ONNX model. Needs onnx and numpy only."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .onnx_graph import IR_VERSION, OPSET

node = helper.make_node


def dynamic_linear_model(values, scale, bias, shape):
    """Bytes of a model "x" -> "y" that quantizes x by the range of each call: DynamicQuantizeLinear and MatMulInteger.

    Args:
        values: int8 ``[out_features, in_features]``.
        scale: ``[out_features]``.
        bias: ``[out_features]``.
        shape: of the input, ``[m, in_features]``.
    """
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "step", "zero"]),
        node("MatMulInteger", ["q", "weight", "zero", "weight_zero"], ["sums"]),
        node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        node("Mul", ["step", "scale"], ["scales"]),
        node("Mul", ["floats", "scales"], ["scaled"]),
        node("Add", ["scaled", "bias"], ["y"]),
    ]
    weight_zero = np.zeros(len(values), np.int8)
    weights = {
        "weight": np.ascontiguousarray(values.T),
        "weight_zero": weight_zero,
        "scale": scale,
        "bias": bias,
    }
    return _model(nodes, weights, shape, [shape[0], len(values)])


def static_linear_model(values, scale, bias, shape, step, zero):
    """The same with x quantized by one step and zero point, in the form that quantizers write (QDQ)."""
    nodes = [
        *_quantized("x", "q", "x8"),
        node("DequantizeLinear", ["weight", "scale", "weight_zero"], ["w"], axis=1),
        node("MatMul", ["x8", "w"], ["product"]),
        node("Add", ["product", "bias"], ["y"]),
    ]
    weights = {
        **{"weight": np.ascontiguousarray(values.T), "weight_zero": np.zeros(len(values), np.int8)},
        **{"scale": scale, "bias": bias, "q_step": np.float32(step), "q_zero": np.uint8(zero)},
    }
    return _model(nodes, weights, shape, [shape[0], len(values)])


def conv_model(spec, values, scale, bias, shape):
    """Bytes of a model "x" -> "y" with one convolution between quantized maps (QDQ).

    Args:
        spec: padding, stride, dilation (pairs), groups; step and zero of the input, out_step and out_zero of the
            output; out_shape.
        values: int8 ``[out_c, in_c / groups, r, s]``.
        scale: ``[out_c]``.
        bias: ``[out_c]``.
        shape: of the input, ``[batch, in_c, h, w]``.
    """
    bias_scale = (scale * np.float32(spec["step"])).astype(np.float32)
    nodes = [
        *_quantized("x", "q", "x8"),
        node("DequantizeLinear", ["weight", "scale", "weight_zero"], ["w"], axis=0),
        node("DequantizeLinear", ["bias", "bias_scale"], ["b"], axis=0),
        node(
            "Conv",
            ["x8", "w", "b"],
            ["conv"],
            pads=[*spec["padding"], *spec["padding"]],
            strides=spec["stride"],
            dilations=spec["dilation"],
            group=spec["groups"],
        ),
        *_quantized("conv", "out", "y"),
    ]
    weights = {
        **{"weight": values, "weight_zero": np.zeros(len(values), np.int8), "scale": scale},
        **{"bias": np.rint(bias / bias_scale).astype(np.int32), "bias_scale": bias_scale},
        **{"q_step": np.float32(spec["step"]), "q_zero": np.uint8(spec["zero"])},
        **{"out_step": np.float32(spec["out_step"]), "out_zero": np.uint8(spec["out_zero"])},
    }
    return _model(nodes, weights, shape, spec["out_shape"])


def _quantized(x, name, y):
    """Nodes that round `x` to 8 bits, and give it back as `y`."""
    by = [f"{name}_step", f"{name}_zero"]
    return [
        node("QuantizeLinear", [x, *by], [f"{name}_integers"]),
        node("DequantizeLinear", [f"{name}_integers", *by], [y]),
    ]


def _model(nodes, constants, shape, out_shape):
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
        for name, sizes in (("x", shape), ("y", out_shape))
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return made.SerializeToString()
