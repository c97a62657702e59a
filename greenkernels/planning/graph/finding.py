"""Which convolutions of a network have a chain behind them in the forward of the module that calls them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch import fx, nn

from ..candidates import Chain, FusedActivation
from ..fusion import has_hooks
from .chains import ACTIVATION, ADD, NORM, Step, chain_behind
from .proving import Kind, prove
from .rewriting import portable
from .tracing import trace

LAYERS = (nn.Conv2d, nn.Linear)


def find_chains(
    model: nn.Module,
    calls: Mapping[nn.Module, int],
    arities: Mapping[nn.Module, int | None],
    run: Callable[[nn.Module], Any],
) -> dict[nn.Module, Chain]:
    """Convolution or linear layer -> what may run inside of its kernel once the forward of its container is rewritten.

    Args:
        calls: how often each module was called in one forward of the network.
        arities: number of arguments of each module in all its calls, where they were positional tensors; else None.
        run: one forward of the network on the example inputs.
    """
    names = {module: name for name, module in reversed(list(model.named_modules(remove_duplicate=False)))}
    graphs: dict[nn.Module, fx.Graph] = {}
    for module in names:
        arity = arities.get(module)
        if arity and any(type(inner) in LAYERS for inner in module.modules()):
            graph = trace(module, arity)
            if graph is not None and _chains(graph, module, calls, {}) and portable(graph):
                graphs[module] = graph
    found: dict[nn.Module, Chain] = {}
    for module, kinds in prove(model, graphs, run).items() if graphs else ():
        for conv, steps in _chains(graphs[module], module, calls, kinds).items():
            found[conv] = as_chain(names[module], arities[module] or 0, steps)
    return found


def _chains(
    graph: fx.Graph, root: nn.Module, calls: Mapping[nn.Module, int], kinds: Mapping[fx.Node, Kind]
) -> dict[nn.Module, list[Step]]:
    """Layer -> its steps; without kinds, whatever may turn out to be one."""
    layers = [node for node in graph.nodes if node.op == "call_module"]
    sites = Counter(root.get_submodule(node.target) for node in layers)
    claimed: set[fx.Node] = set()
    found = {}

    def may_add(value: fx.Node, other: fx.Node) -> bool:
        return not kinds or (value in kinds and kinds[value] == kinds.get(other))

    for node in reversed(layers):  # of two convolutions that are added up, the later one adds
        conv = root.get_submodule(node.target)
        once = sites[conv] == 1 and calls.get(conv) == calls.get(root)
        if type(conv) not in LAYERS or not once or has_hooks(conv) or len(node.args) != 1 or node.kwargs:
            continue
        steps = chain_behind(node, root, may_add)
        if type(conv) is nn.Linear:  # its kernels fuse an activation alone
            steps = [step for step in steps[:1] if step.role == ACTIVATION]
        free = next((i for i, step in enumerate(steps) if step.node in claimed), len(steps))
        if steps[:free]:
            found[conv] = steps[:free]
            claimed.update(step.node for step in steps[:free])
    return found


def as_chain(container: str, arity: int, steps: list[Step]) -> Chain:
    """The chain of these steps; their targets are names within the container."""
    by_role = {step.role: step for step in steps}
    norm, act = by_role.get(NORM), by_role.get(ACTIVATION)
    dot = f"{container}." if container else ""
    return Chain(
        norm=None if norm is None else dot + str(norm.node.target),
        adds=ADD in by_role,
        activation=None if act is None else FusedActivation("", act.kind, act.param),
        container=container,
        arity=arity,
    )
