"""Is a sparse layer faster than its dense twin? Asked of a clock when a layer is converted by hand."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..measure.clock import Clock
from ..measure.contender import Contender
from ..measure.turns import Schedule, take_turns

if TYPE_CHECKING:
    from .sparse_weight import KeepsSparseWeight

SCHEDULE = Schedule(rounds=5, budget_s=0.2)


class SlowerThanDense(UserWarning):
    """A sparse layer was measured to be slower than the dense layer it replaces."""


def warn_if_slower(
    stock: nn.Module, module: KeepsSparseWeight, shape: Sequence[int], clock: Clock | None = None
) -> None:
    """Times the dense layer and the sparse one in turns on an input of this shape; warns if the dense one is faster.

    Silent where there is nothing to time: no kernel, another device, no elements.
    """
    x = torch.randn(shape, device="cpu").to(module.values.dtype)
    if module._fallback_reason(x) is not None or not x.numel() or not module.values.is_cpu:
        return
    was_training = module.training
    dense = module.to_module().eval()
    module.eval()
    try:
        contenders = [Contender("dense", dense, keep=True), Contender("sparse", module)]
        turns = take_turns(contenders, (x,), SCHEDULE, clock=clock)
    finally:
        module.train(was_training)
    said = turns.compare("dense", "sparse")
    if said.verdict != "slower":
        return
    name, before, after = type(module).__name__, said.baseline.value, said.contender.value
    warnings.warn(
        f"{name}: with {module.sparsity:.1%} zeros slower than nn.{type(stock).__name__} on inputs {list(shape)}: "
        f"{after * 1e3:.3g} ms against {before * 1e3:.3g} ms, measured with {torch.get_num_threads()} thread(s); "
        "prune further, or keep the dense layer",
        SlowerThanDense,
        stacklevel=3,
    )
