"""oneDNN as frozen inductor calls it: weights reordered once to the blocked layout that it asks for."""

from __future__ import annotations

from functools import partial

import torch

from ...contender import Contender
from .. import CannotRun, ConvTask, LinearTask, Rival
from ..task import check_padding, slope_of
from .torch_eager import in_format

NAME = "oneDNN packed"

# Our names of activations -> (attribute, scalars, algorithm) of a post-op. leaky_relu takes its slope.
POST_OPS = {
    None: ("none", [], ""),
    "relu": ("relu", [], ""),
    "relu6": ("hardtanh", [0.0, 6.0], ""),
    "silu": ("swish", [], ""),
    "gelu": ("gelu", [], "none"),
    "sigmoid": ("sigmoid", [], ""),
    "tanh": ("tanh", [], ""),
    "hardswish": ("hardswish", [], ""),
    "hardsigmoid": ("hardsigmoid", [], ""),
}


def version() -> str:
    if not torch.backends.mkldnn.is_available():
        raise CannotRun("this torch was built without oneDNN")
    return torch.__version__


def post_op(task: ConvTask) -> tuple[str, list[float], str]:
    if task.activation == "leaky_relu":
        return "leaky_relu", [slope_of(task).item()], ""
    if task.activation not in POST_OPS:
        raise CannotRun(f"has no post-op {task.activation}")
    return POST_OPS[task.activation]


def conv(task: ConvTask) -> Contender:
    module = task.module
    check_padding(module)
    geometry = (list(module.padding), list(module.stride), list(module.dilation), module.groups)
    weight = torch.ops.mkldnn._reorder_convolution_weight(
        module.weight.detach(), *geometry, list(task.inputs.shape)
    )
    bias = None if module.bias is None else module.bias.detach()
    post = post_op(task)

    def call(x: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *geometry, *post)

    return contender(call, "channels_last", partial(in_format, torch.channels_last))


def linear(task: LinearTask) -> Contender:
    rows = task.inputs.numel() // task.module.in_features
    weight = torch.ops.mkldnn._reorder_linear_weight(task.module.weight.detach(), rows)
    bias = None if task.module.bias is None else task.module.bias.detach()

    def call(x: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    return contender(call, f"packed for {rows} rows")


def contender(call, layout: str, prepare=None) -> Contender:
    flags = f"prepacked weights, {layout}, {torch.get_num_threads()} threads"
    return Contender(NAME, call, prepare, version=torch.__version__, flags=flags)


def build(task: ConvTask | LinearTask) -> Contender:
    with torch.no_grad():
        return conv(task) if isinstance(task, ConvTask) else linear(task)


RIVALS = (
    Rival(
        name=NAME,
        about="torch.ops.mkldnn with prepacked weights and the activation as a post-op; maps in channels_last",
        tasks=(ConvTask, LinearTask),
        version=version,
        build=build,
    ),
)
