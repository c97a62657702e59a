"""One layer as an ONNX model. Also loaded outside of this package, so it needs onnx and numpy only."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

# Old enough for every rival that reads ONNX (deepsparse stops at opset 13 and IR 8), new enough for HardSwish by parts.
OPSET, IR_VERSION = 13, 8


def conv_model(spec, weight, bias, shape):
    """Bytes of a model "x" -> "y" with one convolution and its activation.

    Args:
        spec: padding, stride, dilation (pairs), groups, activation (a name or None), slope (a number or None).
        weight: ``[out_c, in_c / groups, r, s]``.
        bias: ``[out_c]`` or None.
        shape: of the input, ``[batch, in_c, h, w]``.
    """
    weights = {"weight": weight} | ({} if bias is None else {"bias": bias})
    node = helper.make_node(
        "Conv",
        ["x", *weights],
        ["conv"],
        pads=[*spec["padding"], *spec["padding"]],
        strides=spec["stride"],
        dilations=spec["dilation"],
        group=spec["groups"],
    )
    nodes, constants = _activation(spec["activation"], spec["slope"], "conv", "y")
    return _model([node, *nodes], weights | constants, {"x": shape}, 4)


def linear_model(weight, bias, shape):
    """Bytes of a model "x" -> "y" with ``x @ weight.T + bias``; weight ``[out_features, in_features]``."""
    if len(shape) == 2:
        weights = {"weight": weight} | ({} if bias is None else {"bias": bias})
        nodes = [helper.make_node("Gemm", ["x", *weights], ["y"], transB=1)]
        return _model(nodes, weights, {"x": shape}, 2)
    weights = {"weight": np.ascontiguousarray(weight.T)} | ({} if bias is None else {"bias": bias})
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["product" if bias is not None else "y"])]
    if bias is not None:
        nodes.append(helper.make_node("Add", ["product", "bias"], ["y"]))
    return _model(nodes, weights, {"x": shape}, len(shape))


def matmul_model(a_shape, b_shape):
    """Bytes of a model "a", "b" -> "y" with ``a @ b``."""
    return _model([helper.make_node("MatMul", ["a", "b"], ["y"])], {}, {"a": a_shape, "b": b_shape}, 2)


ACTIVATIONS = (
    None,
    "relu",
    "relu6",
    "leaky_relu",
    "silu",
    "sigmoid",
    "tanh",
    "gelu",
    "hardswish",
    "hardsigmoid",
)


def _activation(name, slope, x, y):
    """Nodes from `x` to `y`, and their constants. Written as exporters do, in the forms that optimizers know."""
    node = helper.make_node
    simple = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    if name is None:
        return [node("Identity", [x], [y])], {}
    if name in simple:
        return [node(simple[name], [x], [y])], {}
    if name == "leaky_relu":
        return [node("LeakyRelu", [x], [y], alpha=slope)], {}
    if name == "relu6":
        return [node("Clip", [x, "zero", "six"], [y])], {"zero": _scalar(0), "six": _scalar(6)}
    if name == "silu":
        return [node("Sigmoid", [x], ["gate"]), node("Mul", [x, "gate"], [y])], {}
    if name == "hardsigmoid":
        return [node("HardSigmoid", [x], [y], alpha=1 / 6, beta=0.5)], {}
    if name == "hardswish":
        return [node("HardSigmoid", [x], ["gate"], alpha=1 / 6, beta=0.5), node("Mul", [x, "gate"], [y])], {}
    if name == "gelu":  # x / 2 * (1 + erf(x / sqrt(2)))
        nodes = [
            node("Div", [x, "root"], ["scaled"]),
            node("Erf", ["scaled"], ["erf"]),
            node("Add", ["erf", "one"], ["sum"]),
            node("Mul", [x, "sum"], ["product"]),
            node("Mul", ["product", "half"], [y]),
        ]
        return nodes, {"root": _scalar(2**0.5), "one": _scalar(1), "half": _scalar(0.5)}
    raise ValueError(f"activation must be one of {ACTIVATIONS}, got {name!r}")


def _scalar(value):
    return np.asarray(value, dtype=np.float32)


def _model(nodes, constants, inputs, rank):
    shaped = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "layer", shaped, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return model.SerializeToString()
