"""Operations on each element: a fixed number of operations an output element."""

from __future__ import annotations

from torch import nn

from ..counts import Counts, Uncounted
from ..layer_rules.pointwise import GELU_ERF, GELU_TANH, OPERATIONS, SOFTMAX
from ..ops import Op, op_rule

# In place too, under the same name with an underscore at its end.
PER_ELEMENT = {
    **dict.fromkeys(("mul", "div", "neg", "abs", "sign", "reciprocal", "square", "pow"), 1),
    **dict.fromkeys(
        ("exp", "exp2", "expm1", "log", "log2", "log1p", "sqrt", "rsqrt", "erf", "sin", "cos"), 1
    ),
    **dict.fromkeys(("floor", "ceil", "round", "trunc", "remainder", "fmod", "atan2"), 1),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "maximum", "minimum", "where", "isnan", "isinf"), 1),
    **dict.fromkeys(
        ("logical_and", "logical_or", "logical_not", "bitwise_and", "bitwise_or", "bitwise_not"), 1
    ),
    **dict.fromkeys(("clamp_min", "clamp_max", "masked_fill", "threshold"), 1),
    "addcmul": 3,
    "addcdiv": 3,
    "lerp": 3,
    "relu": OPERATIONS[nn.ReLU],
    "hardtanh": OPERATIONS[nn.Hardtanh],
    "leaky_relu": OPERATIONS[nn.LeakyReLU],
    "_prelu_kernel": OPERATIONS[nn.PReLU],
    "sigmoid": OPERATIONS[nn.Sigmoid],
    "silu": OPERATIONS[nn.SiLU],
    "tanh": OPERATIONS[nn.Tanh],
    "hardsigmoid": OPERATIONS[nn.Hardsigmoid],
    "hardswish": OPERATIONS[nn.Hardswish],
    "elu": OPERATIONS[nn.ELU],
    "mish": OPERATIONS[nn.Mish],
    "_softmax": SOFTMAX,
    "_log_softmax": SOFTMAX,
}


@op_rule(*PER_ELEMENT, *(f"{name}_" for name in PER_ELEMENT))
def per_element(op: Op) -> int:
    name = op.func._schema.name.removeprefix("aten::")
    return PER_ELEMENT[name if name in PER_ELEMENT else name[:-1]] * op.elements


@op_rule("add", "add_", "sub", "sub_", "rsub")
def scaled_sum(op: Op) -> int:
    """1, or 2 with a factor ``alpha``."""
    return (1 if op.arguments.get("alpha", 1) == 1 else 2) * op.elements


@op_rule("clamp", "clamp_")
def clamp(op: Op) -> int:
    return sum(op.arguments.get(bound) is not None for bound in ("min", "max")) * op.elements


@op_rule("gelu", "gelu_")
def gelu(op: Op) -> int:
    return (GELU_ERF if op.arguments["approximate"] == "none" else GELU_TANH) * op.elements


@op_rule("dropout", "feature_dropout", "alpha_dropout", "native_dropout")
def dropout(op: Op) -> Counts:
    """In eval mode nothing is computed or moved; in training mode random numbers are drawn."""
    if op.arguments["train"]:
        raise Uncounted("draws random numbers, which no rule counts")
    return Counts(0, 0, 0, 0, op.dtype)
