"""Blocks that follow each other, each the only reader of the one before: one call of the kernel for all of them.

Between two calls from Python lie some 40 us, most of them misses: a block goes through all of L2, so what Python and
the checks of its layers look at comes from further away again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as hooks

from ..ops import _library
from ..ops.separable_conv2d_op import Call, listed, packed_blocks
from .separable_call import Kept
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
        blocks: the last layer of each, and whether the input of the block is added before its last activation.
    """

    def __init__(self, blocks: Sequence[tuple[SeparableEnd, bool]]) -> None:
        self.blocks = tuple(blocks)
        self._kept: Kept | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def __call__(self, input: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and self.is_one_call(input):
            arguments = self.packed_arguments()
            if arguments is not None:
                return packed_blocks(input, *arguments)
        for end, adds in self.blocks:
            input = end(input, input, block=True) if adds else end(input, block=True)
        return input

    def is_one_call(self, input: Tensor) -> bool:
        """Whether one call covers this, as far as the input tells; not where anybody looks at a block's calls."""
        return (
            not torch.is_grad_enabled()
            and self.blocks[0][0].is_one_call(input)
            and _library.compiled("separable_conv2d_blocks", input)
            and not any(_GLOBAL_HOOKS)
            and not any([_is_watched(end) for end, _ in self.blocks])
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
        for end, adds in self.blocks:
            arguments = end.packed_arguments()
            if arguments is None:
                return None
            of_block = listed(Call(*arguments, None, 1.0), adds)
            tensors += of_block[0]
            numbers += of_block[1]
        return Kept((tensors, numbers), [conv for end, _ in self.blocks for conv in end._convs()])


def _is_watched(module: torch.nn.Module) -> bool:
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
