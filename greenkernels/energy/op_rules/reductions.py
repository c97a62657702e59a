"""Sums and extremes, normalisations, pooling and interpolation."""

from __future__ import annotations

import math

from ..counts import Uncounted
from ..layer_rules.norm import PER_GROUP, STATISTICS
from ..ops import Op, op_rule


@op_rule("sum", "prod", "amax", "amin", "max", "min", "argmax", "argmin", "any", "all", "cumsum", "aminmax")
def reduction(op: Op) -> int:
    """1 an input element."""
    if len(op.inputs) == 2:  # max and min of two tensors work element by element
        return op.elements
    return op.inputs[0].numel()


@op_rule("mean")
def mean(op: Op) -> int:
    return op.inputs[0].numel() + op.elements


@op_rule("var", "std", "var_mean", "std_mean")
def variance(op: Op) -> int:
    """Mean (1), deviation (1) and a multiply-add an element; a result: two divisions and, for std, a root."""
    return 4 * op.inputs[0].numel() + 3 * op.elements


@op_rule("linalg_vector_norm", "norm")
def norm(op: Op) -> int:
    """A multiply-add an element, a root a result (order 2)."""
    if op.arguments.get("ord", op.arguments.get("p", 2)) not in (2, 2.0, None):
        raise Uncounted("only the norm of order 2 has a counting rule")
    return 2 * op.inputs[0].numel() + op.elements


@op_rule(
    "_native_batch_norm_legit_no_training",
    "native_batch_norm",
    "cudnn_batch_norm",
    "_native_batch_norm_legit",
)
def batch_norm(op: Op) -> int:
    """As the rule of `nn.BatchNorm2d`: with running statistics, or with those of this batch."""
    running_mean = op.arguments.get("running_mean")
    if op.arguments.get("training", False):
        updates = 0 if running_mean is None else 2 * 2 * running_mean.numel()
        return normalization(op) + updates
    affine = op.arguments["weight"] is not None
    return 2 * op.elements + (3 + 2 * affine) * running_mean.numel()


@op_rule("native_group_norm", "native_layer_norm")
def normalization(op: Op) -> int:
    """As the rule of `nn.LayerNorm`."""
    affine = sum(op.arguments[name] is not None for name in ("weight", "bias"))
    groups = op.outputs[1].numel()  # the means
    return (STATISTICS + affine) * op.elements + PER_GROUP * groups


@op_rule("_fused_rms_norm")
def rms_norm(op: Op) -> int:
    affine = op.arguments["weight"] is not None
    return (3 + affine) * op.elements + 3 * op.outputs[-1].numel()


def _window(op: Op, dims: int) -> int:
    kernel = op.arguments["kernel_size"]
    return kernel[0] ** dims if len(kernel) == 1 else math.prod(kernel)


@op_rule("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices")
def max_pool(op: Op) -> int:
    """One comparison for each further element of a window; the indices that torch writes beside are moved bytes."""
    return (_window(op, _dims(op)) - 1) * op.elements


@op_rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(op: Op) -> int:
    return _window(op, _dims(op)) * op.elements


def _dims(op: Op) -> int:
    return int(op.func._schema.name.partition("pool")[2][0])


@op_rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
def adaptive_pool(op: Op) -> int:
    """Window i of n covers floor(i size / n) to ceil((i + 1) size / n)."""
    dims = _dims(op)
    sizes, outs = op.inputs[0].shape[-dims:], op.outputs[0].shape[-dims:]
    covered = (
        sum(-(-(i + 1) * size // out) - i * size // out for i in range(out))
        for size, out in zip(sizes, outs, strict=True)
    )
    return math.prod(op.inputs[0].shape[:-dims]) * math.prod(covered)


@op_rule("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
def interpolation(op: Op) -> int:
    """2^d - 1 interpolations of 3 operations an output element."""
    dims = op.outputs[0].dim() - 2
    return 3 * (2**dims - 1) * op.elements
