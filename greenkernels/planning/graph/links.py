"""Which layer alone reads what another layer and its chain give, with nothing between that computes with values.

Where both have kernels for 8-bit integers, those may go from the one to the other as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from ..candidates import Chain
from ..fusion import has_hooks
from .chains import NOTHING, chain_behind, only_user, passes_on
from .finding import LAYERS
from .proving import prove
from .tracing import trace

# What moves values and computes nothing. A maximum could stand here too, but torch's max_pool2d refuses uint8 maps of
# more than 255 pixels (2.13.0).
_KEEPS = (nn.Flatten,)
_KEEP_CALLS = (torch.flatten, "flatten")

Links = dict[nn.Module, nn.Module]
Chains = Mapping[nn.Module, Chain]
Calls = Mapping[nn.Module, int]


def find_links(
    model: nn.Module,
    calls: Calls,
    arities: Mapping[nn.Module, int | None],
    chains: Chains,
    run: Callable[[nn.Module], Any],
) -> Links:
    """Convolution or linear layer -> the one that reads what it and its whole chain give, and nothing else does.

    Args:
        calls, arities, run: As of `finding.find_chains`.
        chains: Layer -> what may be fused into it.
    """
    found = _in_sequential(model, calls, chains)
    names = {module: name for name, module in reversed(list(model.named_modules(remove_duplicate=False)))}
    graphs: dict[nn.Module, fx.Graph] = {}
    for module in names:
        arity = arities.get(module)
        if arity and sum(type(inner) in LAYERS for inner in module.modules()) > 1:
            graph = trace(module, arity)
            if graph is not None and next(_in_graph(graph, module, names[module], calls, chains), None):
                graphs[module] = graph
    for module in prove(model, graphs, run) if graphs else ():
        found |= dict(_in_graph(graphs[module], module, names[module], calls, chains))
    return found


def _in_graph(
    graph: fx.Graph, root: nn.Module, name: str, calls: Calls, chains: Chains
) -> Iterator[tuple[nn.Module, nn.Module]]:
    nodes = [node for node in graph.nodes if node.op == "call_module"]
    sites = Counter(root.get_submodule(node.target) for node in nodes)

    def layer_of(node: fx.Node | None) -> nn.Module | None:
        if node is None or node.op != "call_module" or len(node.args) != 1 or node.kwargs:
            return None
        module = root.get_submodule(node.target)
        once = sites[module] == 1 and calls.get(module) == calls.get(root)
        return module if type(module) in LAYERS and once and not has_hooks(module) else None

    for node in nodes:
        layer = layer_of(node)
        if layer is None:
            continue
        chain = chains.get(layer)
        if chain is not None and chain.container != name:
            continue  # behind it stands what another module calls
        length = 0 if chain is None else bool(chain.norm) + chain.adds + (chain.activation is not None)
        steps = chain_behind(node, root, lambda value, other: True)[:length]
        value = steps[-1].node if steps else node
        while (after := only_user(value)) is not None and _keeps(after, root):
            value = after
        taker = layer_of(after)
        if taker is not None and len(steps) == length:
            yield layer, taker


def _keeps(node: fx.Node, root: nn.Module) -> bool:
    """Whether the node gives the values of its input."""
    if node.op == "call_module":
        return passes_on(node, root) or (len(node.args) == 1 and _is_keeper(root.get_submodule(node.target)))
    return passes_on(node, root) or node.target in _KEEP_CALLS


def _is_keeper(module: nn.Module) -> bool:
    return type(module) in _KEEPS and not has_hooks(module)


def _in_sequential(model: nn.Module, calls: Calls, chains: Chains) -> Links:
    """What nn.Sequential proves: each child's output goes to the next child, also into one that is nested."""
    places = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    names = {module: name for name, module in model.named_modules()}
    found: Links = {}
    for parent in names:
        if not _is_plain(parent) or not calls.get(parent):
            continue
        children = list(_leaves(parent, calls[parent], calls, places))
        for i, layer in enumerate(children):
            chain = chains.get(layer) if layer is not None else None
            if layer is None or type(layer) not in LAYERS or (chain and chain.container is not None):
                continue
            fused = {chain.norm, chain.activation.slot if chain.activation else None} if chain else set()
            for after in children[i + 1 :]:
                if after is not None and type(after) in LAYERS:
                    found[layer] = after
                if after is None or not (
                    names[after] in fused or _is_keeper(after) or type(after) in NOTHING
                ):
                    break
    return found


def _is_plain(module: nn.Module) -> bool:
    return type(module) is nn.Sequential and not has_hooks(module)


def _leaves(
    parent: nn.Module, times: int, calls: Calls, places: Mapping[nn.Module, int]
) -> Iterator[nn.Module | None]:
    """What runs, in this order; None for a module that is called from elsewhere too."""
    for child in parent.children() if len(list(parent.children())) == len(parent) else (None,):
        if child is None or places[child] != 1 or calls.get(child) != times or has_hooks(child):
            yield None
        elif _is_plain(child):
            yield from _leaves(child, times, calls, places)
        else:
            yield child
