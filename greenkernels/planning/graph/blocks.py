"""Finds blocks: a depthwise convolution and the 1x1 convolution behind it, and the 1x1 convolution before it, if any.

The layers of a block lie in children of children, so containers are traced deep, see `tracing`. The container of a
block is the smallest module whose forward holds all of it, the addition behind it included, and as many other blocks as
any; that forward is rewritten so that the last layer computes the block. Two layers belong together if nothing but a
batch norm and an activation without parameters stands between them and the map between them is read by nobody else, so
that it need not exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from ...ops.activation import WITH_PARAM
from ..candidates import Block
from ..fusion import has_hooks
from .chains import ACTIVATION, ADD, Step, chain_behind, changed_between, passes_on, past_nothing
from .finding import as_chain
from .proving import Kind, prove
from .rewriting import portable
from .tracing import trace

NO_TRACE = "no forward around it can be traced"


@dataclass
class Blocks:
    """What was found.

    Attributes:
        ends: last layer of a block -> the block.
        reasons: depthwise convolution -> why it is in none.
    """

    ends: dict[nn.Module, Block] = field(default_factory=dict)
    reasons: dict[nn.Module, str] = field(default_factory=dict)


@dataclass
class _Found:
    """A block in a graph: the calls of its layers, and the steps behind each."""

    nodes: list[fx.Node]
    steps: list[list[Step]]

    @property
    def size(self) -> int:
        """Layers and steps that run in the one call."""
        return len(self.nodes) + sum(map(len, self.steps))


def is_depthwise(module: nn.Module) -> bool:
    """Whether it is an nn.Conv2d with a filter for every channel."""
    same = type(module) is nn.Conv2d and module.groups == module.in_channels == module.out_channels
    return same and module.groups > 1


def is_pointwise(module: nn.Module) -> bool:
    """Whether it is an nn.Conv2d that multiplies each pixel by one matrix."""
    if type(module) is not nn.Conv2d or module.kernel_size != (1, 1) or module.groups != 1:
        return False
    return module.stride == (1, 1) and module.padding in ((0, 0), "valid", "same")


def find_blocks(
    model: nn.Module,
    calls: Mapping[nn.Module, int],
    arities: Mapping[nn.Module, int | None],
    run: Callable[[nn.Module], Any],
    refusal: Callable[[nn.Module], str],
) -> Blocks:
    """The blocks of a network; no layer is in two of them.

    Args:
        calls, arities, run: as of `finding.find_chains`.
        refusal: why a layer cannot be replaced at all; "" if it can.
    """
    names = {module: name for name, module in reversed(list(model.named_modules(remove_duplicate=False)))}
    blocks = Blocks(reasons={module: NO_TRACE for module in names if is_depthwise(module)})
    searches = []
    for module in sorted(names, key=lambda m: names[m].count(".") if names[m] else -1):  # outermost first
        search = _Search.of(module, arities.get(module), calls, refusal)
        if search is not None:
            searches.append(search)
            for conv, found in search.all().items():
                if isinstance(found, str) and blocks.reasons[conv] == NO_TRACE:
                    blocks.reasons[conv] = found
    chosen = _proven_choice(model, searches, run)
    ends = {search.module(found.nodes[-1]) for search, found in chosen.values()}
    for conv, (search, found) in chosen.items():
        if len(found.nodes) == 3 and search.module(found.nodes[0]) in ends:
            found = _Found(found.nodes[1:], found.steps[1:])  # it ends the block before
        blocks.ends[search.module(found.nodes[-1])] = search.as_block(found, names[search.root])
        del blocks.reasons[conv]
    return blocks


def _proven_choice(
    model: nn.Module, searches: list[_Search], run: Callable[[nn.Module], Any]
) -> dict[nn.Module, tuple[_Search, _Found]]:
    """Depthwise convolution -> its block in the container that is best for it, of those whose traces are proven."""
    while searches:
        chosen: dict[nn.Module, tuple[_Search, _Found]] = {}
        rank: dict[nn.Module, tuple[int, int]] = {}
        for search in searches:
            found = search.blocks()
            for conv, block in found.items():
                here = block.size, len(found)  # blocks in one forward may follow on each other
                if here >= rank.get(conv, (0, 0)):
                    chosen[conv], rank[conv] = (search, block), here
        unproven = {search.root: search.graph for search, _ in chosen.values() if not search.kinds}
        if not unproven:
            return chosen
        proven = prove(model, unproven, run)
        for search in searches:
            search.kinds = proven.get(search.root, search.kinds)
        searches = [s for s in searches if s.root not in unproven or s.root in proven]
    return {}


@dataclass
class _Search:
    """The search in one container.

    Attributes:
        root, graph: the container and its deep trace.
        arity: tensors in a call.
        calls, refusal: as of `find_blocks`.
        kinds: of the values of a proven graph; empty: whatever may be an addition is one.
    """

    root: nn.Module
    graph: fx.Graph
    arity: int
    calls: Mapping[nn.Module, int]
    refusal: Callable[[nn.Module], str]
    kinds: Mapping[fx.Node, Kind] = field(default_factory=dict)

    @classmethod
    def of(
        cls, root: nn.Module, arity: int | None, calls: Mapping[nn.Module, int], refusal: Callable[..., str]
    ) -> _Search | None:
        """None where there is nothing to find."""
        if not arity or not calls.get(root) or not any(map(is_depthwise, root.modules())):
            return None
        graph = trace(root, arity, deep=True)
        return cls(root, graph, arity, calls, refusal) if graph is not None and portable(graph) else None

    def __post_init__(self) -> None:
        self.sites = Counter(self.module(node) for node in self.graph.nodes if node.op == "call_module")

    def module(self, node: fx.Node) -> nn.Module:
        return self.root.get_submodule(node.target)

    def all(self) -> dict[nn.Module, _Found | str]:
        """Depthwise convolution -> its block, or why it has none."""
        layers = [node for node in self.graph.nodes if node.op == "call_module"]
        depthwise = [node for node in layers if is_depthwise(self.module(node))]
        pairs = {node: self._pair(node) for node in depthwise}
        ends = {pair.nodes[-1] for pair in pairs.values() if isinstance(pair, _Found)}
        before = {}  # end of a 1x1 convolution that ends no block -> its call and steps
        for node in layers:
            if is_pointwise(self.module(node)) and node not in ends and not self._why_not(node):
                steps = self._steps(node)
                if _no_more_than_an_activation(steps):
                    before[steps[-1].node if steps else node] = node, steps
        return {self.module(node): self._with_expand(pair, before) for node, pair in pairs.items()}

    def blocks(self) -> dict[nn.Module, _Found]:
        return {conv: found for conv, found in self.all().items() if isinstance(found, _Found)}

    def as_block(self, found: _Found, name: str) -> Block:
        dot = f"{name}." if name else ""
        chains = tuple(as_chain(name, self.arity, steps) for steps in found.steps)
        return Block(tuple(dot + str(node.target) for node in found.nodes), chains)

    def _steps(self, node: fx.Node) -> list[Step]:
        return chain_behind(node, self.root, self._may_add)

    def _may_add(self, value: fx.Node, other: fx.Node) -> bool:
        if self._ends_a_layer(other):
            return False  # that layer computes the addition, or another block
        return not self.kinds or (value in self.kinds and self.kinds[value] == self.kinds.get(other))

    def _ends_a_layer(self, value: fx.Node) -> bool:
        """Whether a convolution, with a norm behind it or none, gives the value to nobody but who adds it."""
        while isinstance(value, fx.Node) and len(value.users) == 1:
            module = self.module(value) if value.op == "call_module" else None
            if isinstance(module, nn.Conv2d):
                return True
            if type(module) is not nn.BatchNorm2d and not passes_on(value, self.root):
                return False
            value = value.args[0]
        return False

    def _pair(self, node: fx.Node) -> _Found | str:
        """A depthwise convolution with the 1x1 convolution behind it, or why there is none."""
        if why := self._why_not(node):
            return why
        steps = self._steps(node)
        if not _no_more_than_an_activation(steps):
            return f"{_described(steps[-1].node, self.root)} behind it is not computed within a block"
        value, _ = past_nothing(steps[-1].node if steps else node, self.root)
        users = list(value.users)
        if len(users) != 1:
            return "its output goes to " + (
                " and ".join(_described(user, self.root) for user in users) or "nothing"
            )
        (after,) = users
        if after.op != "call_module" or not is_pointwise(self.module(after)):
            return f"{_described(after, self.root)} follows it, not a 1x1 convolution"
        if why := self._why_not(after):
            return f"{after.target}: {why}"
        last = self._steps(after)
        if last and last[-1].role == ACTIVATION and last[-1].kind in WITH_PARAM:
            last.pop()
        return _Found([node, after], [steps, last])

    def _with_expand(
        self, pair: _Found | str, before: Mapping[fx.Node, tuple[fx.Node, list[Step]]]
    ) -> _Found | str:
        """The pair, with the 1x1 convolution before it where that gives its output to nobody else."""
        if isinstance(pair, str):
            return pair
        value = pair.nodes[0].args[0]
        while isinstance(value, fx.Node) and len(value.users) == 1 and passes_on(value, self.root):
            value = value.args[0]
        if value not in before or len(value.users) != 1:
            return pair
        node, steps = before[value]
        end = pair.steps[-1][-1].node if pair.steps[-1] else pair.nodes[-1]
        if changed_between(node, end, self.root):
            return pair
        return _Found([node, *pair.nodes], [steps, *pair.steps])

    def _why_not(self, node: fx.Node) -> str:
        """Why a layer can be in no block; "" if it can."""
        conv = self.module(node)
        if self.sites[conv] != 1 or self.calls.get(conv) != self.calls.get(self.root):
            return "it is called in several places"
        if has_hooks(conv) or len(node.args) != 1 or node.kwargs:
            return "it has hooks, or is called in another way"
        if is_depthwise(conv) and (type(conv.padding) is not tuple or conv.padding_mode != "zeros"):
            return f"padding={conv.padding!r} with {conv.padding_mode} is not known to the kernel of a block"
        return self.refusal(conv)


def _no_more_than_an_activation(steps: list[Step]) -> bool:
    """Whether what stands between two layers of a block is what its kernel computes there."""
    return all(step.role != ADD and step.kind not in WITH_PARAM for step in steps)


def _described(node: fx.Node, root: nn.Module) -> str:
    if node.op == "output":
        return f"what calls {type(root).__name__}"
    if node.op == "call_module":
        module = root.get_submodule(node.target)
        return type(module).__name__ + (" in training mode" if module.training else "")
    return str(node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node.target))
