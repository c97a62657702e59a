"""Exported networks: convolutions and linear layers stand in the graph as functions; here they become modules again.

`torch.export` writes ``aten.conv2d(x, weight, bias, ...)`` and keeps the weights under their old names, so that each
call becomes the ``nn.Conv2d`` of its weight's name, on the same Parameters. What has no such name stays a function.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import fx, nn

aten = torch.ops.aten
_TRAINING = {aten.dropout.default: 2, aten.batch_norm.default: 5}  # op -> position of its flag


def from_exported(program: torch.export.ExportedProgram | fx.GraphModule) -> nn.Module:
    """A network with modules for `plan` to replace, from what `torch.export.load` gives.

    Args:
        program: the exported program, or its ``.module()``.

    Returns:
        A network in eval mode with the same weights under the same names, for the input shapes of the export. Warns of
        layers that stay functions, and so as they are. Activations are functions too, and are not fused.

    Raises:
        ValueError: it was exported in training mode.
    """
    network, left = rebuild(program)
    for name, why in left.items():
        warnings.warn(f"{name} stays as exported: {why}", stacklevel=2)
    return network


def rebuild(program: torch.export.ExportedProgram | fx.GraphModule) -> tuple[nn.Module, dict[str, str]]:
    """As `from_exported`; layer -> why it stays a function, instead of warnings."""
    exported = program if isinstance(program, fx.GraphModule) else program.module()
    _require_eval(exported)
    network = fx.GraphModule(exported, copy.deepcopy(exported.graph))  # a class whose eval() works
    made: dict[str, nn.Module] = {}
    left: dict[str, str] = {}
    for node in list(network.graph.nodes):
        layer = _layer_of(node)
        if layer is None:
            continue
        name, why = _owner(node, network)
        if not why and name in made and _settings(made[name]) != _settings(layer):
            why = f"another call with the weight of {name!r} has other settings"
        if why:
            left[node.name] = why
            continue
        if name not in made:
            layer.weight, layer.bias = network.get_submodule(name).weight, _bias(node, network)
            made[name] = layer
            network.set_submodule(name, layer)
        with network.graph.inserting_before(node):
            call = network.graph.call_module(name, (node.args[0],))
        node.replace_all_uses_with(call)
        network.graph.erase_node(node)
    network.graph.eliminate_dead_code()
    network.recompile()
    return network.eval(), left


def _require_eval(exported: fx.GraphModule) -> None:
    for node in exported.graph.nodes:
        flag = _TRAINING.get(node.target)
        if flag is not None and len(node.args) > flag and node.args[flag] is True:
            raise ValueError(
                f"from_exported: program must be exported in eval mode, got {node.name} in training mode; "
                "call model.eval() before torch.export.export"
            )


def _layer_of(node: fx.Node) -> nn.Module | None:
    """The layer that a call of aten.conv2d or aten.linear is, its weight on the meta device; None for another node."""
    if node.op != "call_function":
        return None
    if node.target is aten.linear.default:
        out_features, in_features = _shape(node.args[1])
        return nn.Linear(in_features, out_features, bias=_has_bias(node), device="meta")
    if node.target not in (aten.conv2d.default, aten.conv2d.padding):
        return None
    rest = dict(enumerate(node.args))
    padding = rest.get(4, 0)
    out_c, in_c, *kernel = _shape(node.args[1])
    return nn.Conv2d(
        in_c * rest.get(6, 1),
        out_c,
        tuple(kernel),
        stride=_pair(rest.get(3, 1)),
        padding=padding if isinstance(padding, str) else _pair(padding),
        dilation=_pair(rest.get(5, 1)),
        groups=rest.get(6, 1),
        bias=_has_bias(node),
        device="meta",
    )


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(int(size) for size in node.meta["val"].shape)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (tuple(value) * 2)[:2]


def _has_bias(node: fx.Node) -> bool:
    return len(node.args) > 2 and node.args[2] is not None


def _bias(node: fx.Node, network: nn.Module) -> nn.Parameter | None:
    return network.get_parameter(node.args[2].target) if _has_bias(node) else None


def _owner(node: fx.Node, network: nn.Module) -> tuple[str, str]:
    """Name of the module that holds this call's weight and bias and nothing else; or why there is none."""
    weight, bias = node.args[1], node.args[2] if _has_bias(node) else None
    if node.kwargs or weight.op != "get_attr" or (bias is not None and bias.op != "get_attr"):
        return "", "its weight is computed in the graph"
    name, _, last = weight.target.rpartition(".")
    if not name or last != "weight" or (bias is not None and bias.target != f"{name}.bias"):
        return "", f"its weight {weight.target!r} is no layer's own"
    held = network.get_submodule(name)
    tensors = {*held._parameters, *held._buffers}
    if {key for key in tensors if getattr(held, key) is not None} != {"weight", *(["bias"] if bias else [])}:
        return "", f"{name!r} holds more than the weight and bias of one layer"
    if not isinstance(held.weight, nn.Parameter):
        return "", f"{weight.target!r} is no parameter"
    return name, ""


def _settings(layer: nn.Module) -> tuple[str, str]:
    return type(layer).__name__, layer.extra_repr()
