"""From a module of ``torch.nn`` to its stand-in and back: what all ``from_module`` and ``to_module`` share."""

from typing import Any

import torch
from torch import nn

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def check_attributes(module: nn.Module, needed: dict[str, Any], dtypes: tuple[torch.dtype, ...]) -> None:
    """Raises ValueError for the first attribute that has not the needed value, and for a weight of another dtype."""
    for name, value in needed.items():
        if getattr(module, name) != value:
            raise ValueError(f"{name} must be {value}, got {name}={getattr(module, name)}")
    if module.weight.dtype not in dtypes:
        raise ValueError(
            f"weight must be one of {', '.join(map(str, dtypes))}, got dtype={module.weight.dtype}"
        )


def check_stock(module: nn.Module, stock: type[nn.Module]) -> None:
    """Raises ValueError unless the module is exactly a ``stock``, so that its forward is known, without hooks."""
    if type(module) is not stock:
        raise ValueError(
            f"type must be {stock.__module__}.{stock.__name__}, got type={type(module).__name__}"
        )
    for name in _HOOKS:
        if getattr(module, name):
            raise ValueError(f"{name} must be empty, got {name}={list(getattr(module, name).values())}")


def conv_arguments(conv: nn.Conv2d) -> dict[str, Any]:
    """What constructs a convolution of the same attributes; on the meta device, as its weight is replaced."""
    names = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
    )
    own = {"bias": conv.bias is not None, "device": "meta", "dtype": conv.weight.dtype}
    return {name: getattr(conv, name) for name in names} | own
