"""Gives a module the forward of its graph: it becomes an instance of a subclass that is made for it.

It stays the object that it was, with its children, attributes, hooks and methods. In training, and for calls of another
form than the one that was traced, its class's own forward runs. Layers that run as a block do so in the forward of the
module that holds all of them, which then is that of its children too.
"""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from ...nn.direct_conv2d import DirectConv2d
from ...nn.separable_chain import SeparableChain, run_chain
from ...ops.activation import WITH_PARAM
from ..fusion import FusedAway
from ..plans import LayerPlan
from .chains import ADD, ORDER, Step, chain_behind, passes_on
from .tracing import trace

Names = dict[
    str, tuple[str, str]
]  # global name of the code -> module and qualified name in it; "" for the module


def rewrite_containers(model: nn.Module, layers: Sequence[LayerPlan]) -> None:
    """Rewrite the forward of each module whose convolutions were replaced by ones that compute their chains."""
    wanted: dict[str, _Wanted] = {}
    for layer in layers:
        chain = layer.chain
        if layer.stem is None or chain is None or chain.container is None:
            continue
        parts = zip(ORDER, (chain.norm, chain.adds, chain.activation), strict=True)
        of = wanted.setdefault(chain.container, _Wanted(chain.container, chain.arity))
        of.fused[of.within(layer.names[0])] = [role for role, part in parts if part]
        if layer.block and layer.block[-1] == layer.names[0]:
            of.blocks.append(tuple(map(of.within, layer.block)))
    for of in _merged(model, wanted):
        rewrite(model.get_submodule(of.container), of.arity, of.fused, of.blocks)


@dataclass
class _Wanted:
    """What is to be rewritten in a container: see `rewrite`."""

    container: str
    arity: int
    fused: dict[str, Sequence[str]] = field(default_factory=dict)
    blocks: list[tuple[str, ...]] = field(default_factory=list)

    def within(self, name: str) -> str:
        return name.removeprefix(f"{self.container}.")


def _merged(model: nn.Module, wanted: dict[str, _Wanted]) -> list[_Wanted]:
    """A container of blocks runs the forwards of its children in its own, so what is wanted in these is its own too."""
    left = dict(sorted(wanted.items(), key=lambda item: item[0].count(".") if item[0] else -1))
    for outer in list(left.values()):
        if left.get(outer.container) is not outer or not outer.blocks:
            continue
        graph = trace(model.get_submodule(outer.container), outer.arity, deep=True)
        called = {node.target for node in graph.nodes if node.op == "call_module"} if graph else set()
        for inner in [
            w for w in left.values() if w is not outer and _is_within(w.container, outer.container)
        ]:
            dot = outer.within(inner.container) + "."
            if not all(dot + name in called for name in inner.fused):
                continue
            outer.fused |= {dot + name: roles for name, roles in inner.fused.items()}
            outer.blocks += [tuple(dot + name for name in block) for block in inner.blocks]
            del left[inner.container]
    return list(left.values())


def _is_within(name: str, container: str) -> bool:
    return not container or name.startswith(f"{container}.")


def rewrite(
    module: nn.Module,
    arity: int,
    fused: Mapping[str, Sequence[str]],
    blocks: Sequence[tuple[str, ...]] = (),
) -> None:
    """Let convolutions compute what follows them, in place.

    Args:
        module: its convolutions are replaced already by modules with a ``fused`` argument.
        arity: tensors in a call.
        fused: name of a convolution in the module -> roles of the steps behind it, see `chains`.
        blocks: names of layers, all in `fused`, of which the last one has a ``block`` argument and computes all. With
            blocks the trace is deep, so that children's forwards become part of this one.

    Raises:
        ValueError: the forward is not the one that was planned for.
    """
    graph = trace(module, arity, deep=bool(blocks))
    if graph is None:
        raise ValueError(
            f"apply: the forward of {type(module).__name__} must be traceable as it was in planning"
        )
    calls: dict[str, fx.Node] = {}
    for node in reversed(list(graph.nodes)):
        if node.op == "call_module" and node.target in fused:
            roles = list(fused[node.target])
            steps = chain_behind(node, module, lambda value, other: True)[: len(roles)]
            if [step.role for step in steps] != roles:
                raise ValueError(
                    f"apply: {node.target!r} in {type(module).__name__} must be followed by {', '.join(roles)}"
                )
            calls[str(node.target)] = _fuse(graph, node, steps)
    for names in blocks:
        _join(module, [calls.get(name) for name in names], names)
    _chain(module, graph)
    graph.lint()
    code = graph.python_code(root_module="self")
    making = type(module), code.src, _names_of(code.globals), arity, len(module._modules)
    module.__class__ = _subclass(*making)


def _fuse(graph: fx.Graph, node: fx.Node, steps: Sequence[Step]) -> fx.Node:
    """Call the convolution where its last step was, with what is added; drop the steps."""
    last = steps[-1].node if steps else node
    added = [step.other for step in steps if step.role == ADD]
    with graph.inserting_before(last):
        call = graph.call_module(str(node.target), (node.args[0], *added), {"fused": True})
    last.replace_all_uses_with(call)
    for step in reversed(steps):
        graph.erase_node(step.node)
        for skipped in reversed(step.skipped):
            graph.erase_node(skipped)
    graph.erase_node(node)
    return call


def _join(module: nn.Module, calls: Sequence[fx.Node | None], names: Sequence[str]) -> None:
    """Give the last of these calls the input of the first one, and let it compute the block."""
    value, between = None, []
    for call in reversed(calls):
        if call is None or (value is not None and value is not call):
            raise ValueError(
                f"apply: {', '.join(names)} in {type(module).__name__} must follow on each other as in planning"
            )
        if call is not calls[-1]:
            between.append(call)
        value = call.args[0]
        while call is not calls[0] and isinstance(value, fx.Node) and passes_on(value, module):
            between.append(value)
            value = value.args[0]
    last = calls[-1]
    last.args, last.kwargs = (calls[0].args[0], *last.args[1:]), {"block": True}
    for node in between:
        node.graph.erase_node(node)


def _chain(module: nn.Module, graph: fx.Graph) -> None:
    """Let one call compute blocks, and layers around them, of which each is the only reader of the one before."""
    left = [node for node in graph.nodes if _may_chain(node, module)]
    while left:
        run = [left.pop(0)]
        if type(module.get_submodule(str(run[0].target))) is FusedAway:
            continue
        while left and set(left[0].args) == {run[-1]} and list(run[-1].users) == [left[0]]:
            run.append(left.pop(0))
        blocks = [node for node in run if node.kwargs.get("block")]
        if not blocks or len(run) == 1:
            continue
        parts = [(module.get_submodule(str(node.target)), len(node.args) == 2) for node in run]
        last = blocks[-1]
        module.get_submodule(str(last.target)).chain = SeparableChain(parts)
        with graph.inserting_before(run[-1]):
            call = graph.call_function(run_chain, (graph.get_attr(str(last.target)), run[0].args[0]))
        run[-1].replace_all_uses_with(call)
        for node in reversed(run):
            graph.erase_node(node)


def _may_chain(node: fx.Node, module: nn.Module) -> bool:
    """Blocks that add their own input or nothing, layers that one call computes with them, what passes its input on."""
    if node.op != "call_module" or not node.args:
        return False
    layer, how = module.get_submodule(str(node.target)), dict(node.kwargs)
    if how.pop("block", False):
        return len(set(node.args)) == 1
    if type(layer) is DirectConv2d:
        whole = how.pop("fused", not layer.deferred)
        return whole and not how and len(node.args) == 1 and layer.activation not in WITH_PARAM
    return type(layer) is FusedAway and len(node.args) == 1 and not how


class Rewritten:
    """What the made subclasses share: they are made anew where a module is copied or unpickled."""

    _stock_class: type[nn.Module]
    _making: tuple[Any, ...]  # arguments of `_subclass`

    def __reduce_ex__(self, protocol: Any) -> Any:
        state = self.__getstate__() if hasattr(self, "__getstate__") else self.__dict__.copy()
        return _revived, type(self)._making, state


def _revived(*making: Any) -> nn.Module:
    kind = _subclass(*making)
    return kind.__new__(kind)


def _subclass(base: type[nn.Module], source: str, names: Names, arity: int, children: int) -> type[nn.Module]:
    scope = {name: _resolved(*where) for name, where in names.items()}
    # Written by torch.fx; SECURITY.md says what that means for pickles.
    exec(source, scope)  # nosec B102
    traced = scope["forward"]

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        # A part of an nn.Sequential is made by its class, and has the forward of that.
        usual = len(args) == arity and not kwargs and not self.training and len(self._modules) == children
        if usual and (
            isinstance(args[0], Tensor) if arity == 1 else all(isinstance(x, Tensor) for x in args)
        ):
            return traced(self, *args)
        return base.forward(self, *args, **kwargs)

    forward.__signature__ = inspect.signature(base.forward)
    members = {
        "forward": forward,
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "_stock_class": base,
        "_making": (base, source, names, arity, children),
    }
    return type(base.__name__, (Rewritten, base), members)


def undo_rewriting(model: nn.Module) -> None:
    """Every module of the class that it was, in place."""
    for module in model.modules():
        if isinstance(module, Rewritten):
            module.__class__ = module._stock_class


def portable(graph: fx.Graph) -> bool:
    """Whether the code can be written down: all that it names can be imported."""
    try:
        _names_of(graph.python_code(root_module="self").globals)
    except ValueError:
        return False
    return True


def _names_of(scope: Mapping[str, Any]) -> Names:
    found: Names = {}
    for name, value in scope.items():
        if isinstance(value, types.ModuleType):
            found[name] = value.__name__, ""
            continue
        where = (getattr(value, "__module__", None) or "", getattr(value, "__qualname__", None) or "")
        found[name] = next(
            (w for w in (where, ("math", name), ("types", name)) if _is_at(value, w)), ("", "")
        )
        if found[name] == ("", ""):
            raise ValueError(f"{name} cannot be imported")
    return found


def _is_at(value: Any, where: tuple[str, str]) -> bool:
    try:
        found = _resolved(*where)
    except (ImportError, AttributeError, ValueError):
        return False
    return found is value or (isinstance(value, float) and repr(found) == repr(value))


def _resolved(module: str, qualified: str) -> Any:
    value: Any = importlib.import_module(module)
    for part in qualified.split(".") if qualified else ():
        value = getattr(value, part)
    return value
