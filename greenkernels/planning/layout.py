"""The memory format that a whole network runs in: maps enter in channels_last and leave contiguous.

Hooks on the root do it, so that the network keeps its class, its attributes and its state_dict.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..measure.rotation import map_tensors, tensors_in
from ..ops.maps import suggested_format

AS_GIVEN, CHANNELS_LAST = "as given", "channels_last"


def to_channels_last(tensor: Tensor) -> Tensor:
    """A map in channels_last, with strides that say so; any other tensor as it is.

    Strides of one channel or of 1x1 maps fit both formats: torch then takes no copy, and reads NCHW from them.
    """
    if tensor.dim() != 4:
        return tensor
    tensor = tensor.contiguous(memory_format=torch.channels_last)
    if suggested_format(tensor) is torch.channels_last:
        return tensor
    _, channels, h, w = tensor.shape
    return tensor.as_strided(tensor.shape, (h * w * channels, 1, w * channels, channels))


def _to_contiguous(tensor: Tensor) -> Tensor:
    return tensor.contiguous() if tensor.dim() == 4 else tensor


class EnterChannelsLast:
    """Forward pre-hook of the root (a class, so that a model with it can be pickled)."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return map_tensors(to_channels_last, args), map_tensors(to_channels_last, kwargs)


class LeaveContiguous:
    """Forward hook of the root: callers get the layout that the stock network gives."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return map_tensors(_to_contiguous, output)


def run_channels_last(model: nn.Module) -> nn.Module:
    """Make the network run in channels_last, in place; stock convolutions get their weights in that format."""
    for module in model.modules():
        if type(module) in (nn.Conv2d, nn.ConvTranspose2d):
            module.to(memory_format=torch.channels_last)
    model.register_forward_pre_hook(EnterChannelsLast(), with_kwargs=True)
    model.register_forward_hook(LeaveContiguous())
    return model


def undo_channels_last(model: nn.Module) -> None:
    """Take the hooks off again and the weights back to contiguous."""
    for hooks, kinds in (
        (model._forward_pre_hooks, EnterChannelsLast),
        (model._forward_hooks, LeaveContiguous),
    ):
        for key in [k for k, hook in hooks.items() if isinstance(hook, kinds)]:
            del hooks[key]
            model._forward_pre_hooks_with_kwargs.pop(key, None)
    for module in model.modules():
        if type(module) in (nn.Conv2d, nn.ConvTranspose2d):
            module.to(memory_format=torch.contiguous_format)


def worth_trying(inputs: Any) -> bool:
    """True if a map goes in that torch would not take for channels_last already."""
    maps = [t for t in tensors_in(inputs) if t.dim() == 4]
    return any(suggested_format(t) is not torch.channels_last for t in maps)
