"""Sees every call of a module's forward while a network runs.

Not by torch's hooks: where a module has hooks, torch's fast paths (nn.TransformerEncoderLayer, for one) switch
themselves off and call layers whose weights they otherwise only read. What is seen has to be what runs later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

Enter = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]
Leave = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]


@contextlib.contextmanager
def watched(modules: Iterable[nn.Module], enter: Enter, leave: Leave | None = None) -> Iterator[None]:
    """Calls ``enter(module, args, kwargs)`` before, and ``leave(module, args, kwargs, output)`` after each forward.

    Scripted modules are not watched: theirs is not a Python function.
    """
    own: dict[nn.Module, Any] = {}
    try:
        for module in modules:
            if isinstance(module, torch.jit.ScriptModule) or module in own:
                continue
            own[module] = module.__dict__.get("forward")
            module.__dict__["forward"] = _around(module, module.forward, enter, leave)
        yield
    finally:
        for module, forward in own.items():
            if forward is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = forward


def _around(
    module: nn.Module, forward: Callable[..., Any], enter: Enter, leave: Leave | None
) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        enter(module, args, kwargs)
        output = forward(*args, **kwargs)
        if leave is not None:
            leave(module, args, kwargs, output)
        return output

    return call
