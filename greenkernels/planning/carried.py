"""What a module of a user carries beyond its class: plain attributes move along, anything else keeps the module.

Libraries mark modules (``conv._is_hf_initialized = True``); such marks stay on the replacement and come back with
`restore`. A buffer, a parameter, a submodule or an overridden method means something that no replacement knows of.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import nn

_NAMES = "_greenkernels_carried"  # on a replacement: names of the attributes that came from the stock module


@cache
def _usual(kind: type[nn.Module]) -> frozenset[str] | None:
    """Instance attributes that every module of the class has; None for a class that planning never replaces."""
    if kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        return frozenset(kind(1, 1, 1, device="meta").__dict__)
    return frozenset(nn.Linear(1, 1, device="meta").__dict__) if kind is nn.Linear else None


def own_attributes(module: nn.Module) -> dict[str, Any]:
    """Instance attributes that its class does not give it."""
    usual = _usual(type(module))
    if usual is None:
        return {}
    return {name: value for name, value in module.__dict__.items() if name not in usual}


def foreign_state(module: nn.Module) -> str:
    """What only this module has and a replacement would lose, in words; "" if there is nothing."""
    if _usual(type(module)) is None:
        return ""
    named = (
        ("parameter", set(module._parameters) - {"weight", "bias"}),
        ("buffer", set(module._buffers)),
        ("submodule", set(module._modules)),
        ("method", {name for name in own_attributes(module) if hasattr(type(module), name)}),
    )
    return next((f"a {what} {min(names)!r}" for what, names in named if names), "")


def clash(module: nn.Module, replacement: nn.Module) -> str:
    """An attribute of the module's own whose name the replacement uses for something else; "" if there is none."""
    return next((name for name in own_attributes(module) if hasattr(replacement, name)), "")


def carry_over(stock: nn.Module, replacement: nn.Module) -> None:
    """Put the stock module's own attributes on the replacement."""
    own = own_attributes(stock)
    if own:
        replacement.__dict__.update(own)
        replacement.__dict__[_NAMES] = tuple(own)


def carry_back(replacement: nn.Module, stock: nn.Module) -> None:
    """The way back; attributes have the values that they have now."""
    for name in replacement.__dict__.get(_NAMES, ()):
        if name in replacement.__dict__:
            stock.__dict__[name] = replacement.__dict__[name]
