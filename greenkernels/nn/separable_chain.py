"""Blocks that follow each other, each the only reader of the one before: one call of the kernel for all of them.

Between two calls from Python lie some 40 us, most of them misses: a block goes through all of L2, so what Python and
the checks of its layers look at comes from further away again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from ..ops import _library
from ..ops.separable_conv2d_op import Call, listed, listed_layer, packed_blocks
from .direct_conv2d import DirectConv2d
from .separable_call import Kept, packed_of, takes
from .separable_end import SeparableEnd

_GLOBAL_HOOKS = (
    hooks._global_forward_hooks,
    hooks._global_forward_pre_hooks,
    hooks._global_backward_hooks,
    hooks._global_backward_pre_hooks,
)


class SeparableChain:
    """``input`` through blocks one after the other. No module: its blocks keep their places in the network.

    Args:
        blocks: the last layer of each, and whether the input of the block is added before its last activation; also
            layers by themselves, and modules that pass their input on.
    """

    def __init__(self, blocks: Sequence[tuple[nn.Module, bool]]) -> None:
        self.blocks = tuple(blocks)
        first = self.blocks[0][0]
        self._in_channels = first._in_channels() if isinstance(first, SeparableEnd) else first.in_channels
        self._kept: Kept | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def __call__(self, input: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and self.is_one_call(input):
            arguments = self.packed_arguments()
            if arguments is not None:
                return packed_blocks(input, *arguments)
        for part, adds in self.blocks:
            input = part(input, *([input] if adds else []), **_how(part))
        return input

    def is_one_call(self, input: Tensor) -> bool:
        """Whether one call covers this, as far as the input tells; not where anybody looks at a block's calls."""
        return (
            not torch.is_grad_enabled()
            and takes(input, self._in_channels)
            and _library.compiled("separable_conv2d_blocks", input)
            and not any(_GLOBAL_HOOKS)
            and not any([_is_watched(part) for part, _ in self.blocks])
        )

    def packed_arguments(self) -> tuple[list[Tensor], list[int]] | None:
        """What the op takes behind ``input``; None where a layer is not covered by it."""
        kept = self._kept
        if kept is None or not kept.holds():
            kept = self._kept = self._look_up()
        return None if kept is None else kept.arguments

    def _look_up(self) -> Kept | None:
        tensors: list[Tensor] = []
        numbers: list[int] = []
        convs: list[Any] = []
        for part, adds in self.blocks:
            if isinstance(part, SeparableEnd):
                found = _block(part, adds)
                convs += part._convs()
            elif isinstance(part, DirectConv2d):
                found = _layer(part)
                convs.append(part)
            else:
                continue
            if found is None:
                return None
            tensors += found[0]
            numbers += found[1]
        return Kept((tensors, numbers), convs)


def _how(part: nn.Module) -> dict[str, bool]:
    if isinstance(part, SeparableEnd):
        return {"block": True}
    return {"fused": True} if isinstance(part, DirectConv2d) else {}


def _block(end: SeparableEnd, adds: bool) -> tuple[list[Tensor], list[int]] | None:
    arguments = end.packed_arguments()
    return None if arguments is None else listed(Call(*arguments, None, 1.0), adds)


def _layer(conv: DirectConv2d) -> tuple[list[Tensor], list[int]] | None:
    packed_bias = packed_of(conv)
    if packed_bias is None or type(conv.padding) is not tuple or conv.padding_mode != "zeros":
        return None
    pairs = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    return listed_layer(*packed_bias, conv.out_channels, pairs, conv.groups, conv.activation)


def _is_watched(module: nn.Module) -> bool:
    own = module.__dict__
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    )


def run_chain(end: SeparableEnd, input: Tensor) -> Tensor:
    """The chain that ends there, as code that torch.fx writes names it."""
    assert end.chain is not None
    return end.chain(input)
