"""Which batch norm and activation follow a layer so surely that they may run inside of the layer's kernel.

The proof is nn.Sequential: its forward hands each child's output to the next child and to nobody else, provided that
the children are called through it alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from operator import itemgetter

from torch import Tensor, nn

from ..energy import Counts
from .candidates import Chain, FusedActivation


class FusedAway(nn.Module):
    """Stands where a module was that now runs inside of the layer before it; passes its input on.

    It holds that module's parameters and buffers, which so keep their names in the ``state_dict``.
    """

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self._stock = (stock,)  # in a tuple, so that it is no submodule
        self._parameters, self._buffers = stock._parameters, stock._buffers
        self.train(stock.training)

    def train(self, mode: bool = True) -> FusedAway:
        self._stock[0].train(mode)
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def to_module(self) -> nn.Module:
        return self._stock[0]

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """No work; the layer before counts what is fused into it."""
        return Counts(0, 0, 0, 0)

    def extra_repr(self) -> str:
        return f"{self._stock[0]} runs in the layer before"


def activation_kind(module: nn.Module) -> tuple[str, float | None] | None:
    """Name and parameter of an activation as the ops know it; None for any other module, subclasses included.

    PReLU is left out: its weight is a parameter of the network and has to stay in the state_dict under its name.
    """
    if type(module) is nn.LeakyReLU:
        return "leaky_relu", float(module.negative_slope)
    if type(module) is nn.GELU:
        return ("gelu", None) if module.approximate == "none" else None
    names: dict[type[nn.Module], str] = {
        nn.ReLU: "relu",
        nn.ReLU6: "relu6",
        nn.SiLU: "silu",
        nn.Sigmoid: "sigmoid",
        nn.Tanh: "tanh",
        nn.Hardswish: "hardswish",
        nn.Hardsigmoid: "hardsigmoid",
    }
    name = names.get(type(module))
    return (name, None) if name else None


# Every kind of hook that stands on a single module. A replacement would lose them.
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


def has_hooks(module: nn.Module) -> bool:
    """Whether the module has hooks of its own, or a forward that is not its class's."""
    return any(getattr(module, name, None) for name in _HOOKS) or "forward" in module.__dict__


def find_fusions(model: nn.Module, calls: Mapping[nn.Module, int]) -> dict[nn.Module, Chain]:
    """Layer -> what may be fused into it.

    Args:
        model: every module in it.
        calls: how often each module was called in one forward of the network.
    """
    counts: dict[nn.Module, int] = {}  # places at which a module is registered
    for _, module in model.named_modules(remove_duplicate=False):
        counts[module] = counts.get(module, 0) + 1
    found = {}
    for prefix, parent in model.named_modules():
        if type(parent) is not nn.Sequential or "forward" in parent.__dict__:
            continue
        children = list(parent.named_children())  # leaves duplicates out, so compare with the slots
        if len(children) != len(parent) or not calls.get(parent):
            continue
        dot = f"{prefix}." if prefix else ""
        # Called as often as the Sequential itself: every call came through its forward.
        sure = [counts[m] == 1 and calls.get(m) == calls[parent] and not has_hooks(m) for _, m in children]
        for i, (_, layer) in enumerate(children):
            behind = itertools.takewhile(
                itemgetter(1), zip(children[i + 1 : i + 3], sure[i + 1 : i + 3], strict=True)
            )
            chain = _chain(layer, [child for child, _ in behind], dot) if sure[i] else None
            if chain is not None:
                found[layer] = chain
    return found


def _chain(layer: nn.Module, behind: Sequence[tuple[str, nn.Module]], dot: str) -> Chain | None:
    """The chain of a layer in an nn.Sequential, from the one or two modules behind it."""
    norm = None
    if behind and type(layer) is nn.Conv2d and type(behind[0][1]) is nn.BatchNorm2d:
        if behind[0][1].running_mean is None:
            return None
        norm, behind = dot + behind[0][0], behind[1:]
    kind = activation_kind(behind[0][1]) if behind else None
    activation = None if kind is None else FusedActivation(dot + behind[0][0], *kind)
    return Chain(norm=norm, activation=activation) if norm or activation else None
