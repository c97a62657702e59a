"""shrink: takes channels and neurons that are pruned away out of a network, which then has fewer and smaller layers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from .conversion import copy_pruned
from .layers import apply_masks

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
# What a channel of zeros passes through as a channel of zeros, one by one.
PASSES = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SiLU,
    nn.GELU,
    nn.Tanh,
    nn.Hardswish,
    nn.Dropout,
    nn.Dropout2d,
    nn.Identity,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
)
FUNCTIONS = (
    F.relu,
    torch.relu,
    F.gelu,
    F.silu,
    F.max_pool2d,
    F.avg_pool2d,
    F.adaptive_avg_pool2d,
    torch.flatten,
)
METHODS = ("relu", "flatten")


def shrink(model: nn.Module) -> nn.Module:
    """A copy without the channels whose weights and biases are all zero, as ``structure="channels"`` leaves them.

    A channel goes where its layer's output runs through activations with ``f(0) = 0``, pooling, flattening and batch
    norm alone into one ``nn.Linear`` or ``nn.Conv2d``, whose inputs go with it. Other layers stay as they are. The
    result computes the same, but for batch norm, which makes a constant of a channel of zeros: it goes too, so train on
    a little.

    Args:
        model: Pruned; ``torch.fx.symbolic_trace`` must be able to follow it.

    Returns:
        A network of the same modules, names and classes, with fewer channels; masks have become permanent.
    """
    model = apply_masks(copy_pruned(model))
    graph = fx.symbolic_trace(model).graph
    modules = dict(model.named_modules())
    for node in graph.nodes:
        producer = modules.get(node.target) if node.op == "call_module" else None
        if not is_plain(producer) or calls_of(graph, node.target) != 1:
            continue
        kept = _rows_kept(producer)
        path = list(path_from(graph, node, modules))
        if kept.all() or not path or not is_plain(path[-1]):
            continue
        *between, consumer = path
        if not kept.any():
            kept[0] = True  # a layer needs an output
        _keep_outputs(producer, kept)
        for norm in between:
            _keep_norm(norm, kept)
        _keep_inputs(consumer, kept)
    return model


def is_plain(module: nn.Module | None) -> bool:
    """Whether it is a Linear or an ungrouped Conv2d of torch itself."""
    return type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1)


def calls_of(graph: fx.Graph, target: str) -> int:
    """How often the module of that name is called."""
    return sum(node.op == "call_module" and node.target == target for node in graph.nodes)


def path_from(
    graph: fx.Graph,
    node: fx.Node,
    modules: dict[str, nn.Module],
    passes: tuple[type[nn.Module], ...] = PASSES,
    functions: tuple[object, ...] = FUNCTIONS,
) -> Iterator[nn.Module]:
    """Norms behind a layer and, last, the layer that reads them; other modules if the way ends elsewhere."""
    while True:
        if len(node.users) != 1:
            return
        (node,) = node.users
        module = modules.get(node.target) if node.op == "call_module" else None
        if module is not None:
            if calls_of(graph, node.target) != 1:
                return
            if is_plain(module) or isinstance(module, NORMS):
                yield module
            if not isinstance(module, (*NORMS, *passes)):
                return
        elif not (
            (node.op == "call_function" and node.target in functions)
            or (node.op == "call_method" and node.target in METHODS)
        ):
            return


def _rows_kept(module: nn.Module) -> Tensor:
    kept = module.weight.detach().flatten(1).ne(0).any(1)
    return kept if module.bias is None else kept | module.bias.detach().ne(0)


def _keep(module: nn.Module, name: str, index: Tensor, dim: int = 0) -> None:
    old = getattr(module, name, None)
    if old is None:
        return
    new = old.detach().index_select(dim, index).clone()
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    setattr(module, name, new)


def _keep_outputs(module: nn.Module, kept: Tensor) -> None:
    index = kept.nonzero().flatten()
    for name in ("weight", "bias"):
        _keep(module, name, index)
    setattr(module, "out_features" if isinstance(module, nn.Linear) else "out_channels", index.numel())


def _keep_norm(module: nn.Module, kept: Tensor) -> None:
    index = kept.nonzero().flatten()
    for name in ("weight", "bias", "running_mean", "running_var"):
        _keep(module, name, index)
    module.num_features = index.numel()


def _keep_inputs(module: nn.Module, kept: Tensor) -> None:
    """Each channel is one input, or, behind a flattened map, as many as the map has pixels."""
    pixels = module.weight.shape[1] // kept.numel()
    index = kept.repeat_interleave(pixels).nonzero().flatten()
    _keep(module, "weight", index, 1)
    setattr(module, "in_features" if isinstance(module, nn.Linear) else "in_channels", index.numel())
