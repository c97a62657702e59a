"""Gradients, losses, optimizers and the order of data: what a step of training runs beside products and convolutions.

Operations an element, with those of `greenkernels.energy.Counts`: a special function is 1.
"""

from __future__ import annotations

from ..counts import Counts
from ..ops import Op, op_rule

# An element of the gradient of the input.
GRADIENTS = {
    "threshold_backward": 1,  # a comparison
    "hardtanh_backward": 2,
    "leaky_relu_backward": 2,
    "sigmoid_backward": 3,  # g (1 - y) y
    "tanh_backward": 3,  # g (1 - y^2)
    "silu_backward": 9,  # g s (1 + x (1 - s)), s a sigmoid of 4
    "gelu_backward": 11,  # g (Phi(x) + x phi(x)): 4 with erf, 5 with exp, 2
    "elu_backward": 3,
    "mse_loss_backward": 3,  # 2 g (x - y) / n
    "_softmax_backward_data": 4,  # y (g - sum of g y)
    "_log_softmax_backward_data": 4,  # g - exp(y) sum of g
    "native_layer_norm_backward": 14,  # two sums, the gradient of the normalized, and those of weight and bias
    "native_group_norm_backward": 14,
    "native_batch_norm_backward": 12,
    "avg_pool2d_backward": 1,
    "_adaptive_avg_pool2d_backward": 1,
    "mean_backward": 1,
    "embedding_dense_backward": 1,
    "upsample_nearest2d_backward": 1,
    "upsample_bilinear2d_backward": 8,  # 4 neighbours, a multiply-add each
}

# An element of the first list of tensors; a factor that is given counts once more.
FOREACH = {
    "add": 1,
    "sub": 1,
    "mul": 1,
    "div": 1,
    "sqrt": 1,
    "neg": 1,
    "reciprocal": 1,
    "pow": 1,
    "maximum": 1,
    "lerp": 3,
    "addcmul": 3,
    "addcdiv": 3,
    "zero": 0,
    "copy": 0,
}
FUSED = {
    "_fused_sgd_": 4,
    "_fused_adam_": 15,
    "_fused_adamw_": 17,
}  # momentum; two moments, their corrections, decay


@op_rule(*GRADIENTS)
def gradient(op: Op) -> int:
    return GRADIENTS[op.func._schema.name.partition("::")[2]] * op.elements


@op_rule("max_pool2d_with_indices_backward")
def max_pool_gradient(op: Op) -> int:
    """An addition for each window."""
    return op.arguments["grad_output"].numel()


@op_rule("nll_loss_forward", "nll_loss2d_forward")
def nll_loss(op: Op) -> int:
    """A row's value, its sign, its weight, and the mean."""
    return 3 * op.arguments["target"].numel()


@op_rule("nll_loss_backward", "nll_loss2d_backward")
def nll_loss_gradient(op: Op) -> int:
    """One value a row; the others are 0."""
    return 2 * op.arguments["target"].numel()


@op_rule("mse_loss")
def mse_loss(op: Op) -> int:
    """A difference, its square, their sum."""
    return 3 * op.arguments["self"].numel()


@op_rule(*(f"_foreach_{name}{end}" for name in FOREACH for end in ("", "_")))
def foreach(op: Op) -> Counts:
    """Optimizers work on lists of tensors."""
    name = op.func._schema.name.partition("_foreach_")[2].rstrip("_")
    elements = sum(tensor.numel() for tensor in op.arguments["self"])
    scaled = op.arguments.get("alpha") not in (None, 1)
    return _in_place(op, (FOREACH[name] + scaled) * elements)


@op_rule("_foreach_norm")
def foreach_norm(op: Op) -> int:
    """As gradients are clipped: a square and a sum an element, a root a tensor."""
    return sum(2 * tensor.numel() + 1 for tensor in op.arguments["self"])


@op_rule("random_", "randperm")
def shuffle(op: Op) -> Counts:
    """The order of the data: a number of the Mersenne Twister is 10 shifts, masks and xors; it reads no tensor."""
    return op.work(10 * op.elements, reads=())


@op_rule(*FUSED)
def fused(op: Op) -> Counts:
    """Optimizers in one operation."""
    elements = sum(tensor.numel() for tensor in op.arguments["self"])
    return _in_place(op, FUSED[op.func._schema.name.partition("::")[2]] * elements)


def _in_place(op: Op, flops: int) -> Counts:
    """With what it writes: an operation in place on a list returns nothing."""
    work = op.work(flops)
    if op.outputs:
        return work
    written = sum(tensor.numel() * tensor.element_size() for tensor in op.arguments["self"])
    return Counts(work.flops, work.bytes_read, written, work.weight_bytes, work.dtype)
