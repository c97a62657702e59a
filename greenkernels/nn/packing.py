"""When a packed weight is still that of its weight: the rule shared by all modules that keep one."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook


_fused_steps = 0  # of all optimizers: torch counts no writes of a fused step in _version


def _count_fused_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    global _fused_steps
    _fused_steps += any(group.get("fused") for group in optimizer.param_groups)


register_optimizer_step_post_hook(_count_fused_step)


class PackedFrom(NamedTuple):
    """The state of a weight at the moment it was packed.

    ``alias`` shares the storage of the weight and so keeps its address from being used for another one.
    """

    alias: Tensor
    address: int
    version: int
    shape: torch.Size
    strides: tuple[int, ...]
    fused_steps: int

    @classmethod
    def of(cls, weight: Tensor) -> "PackedFrom":
        return cls(weight.detach(), weight.data_ptr(), weight._version, weight.shape, weight.stride(), _fused_steps)

    def is_state_of(self, weight: Tensor) -> bool:
        """Whether nothing was written to the weight since, as far as torch counts writes (``weight.data`` hides them)."""
        return (
            weight._version == self.version
            and _fused_steps == self.fused_steps
            and weight.data_ptr() == self.address
            and weight.dtype is self.alias.dtype
            and weight.shape == self.shape
            and weight.stride() == self.strides
        )


def can_track(weight: Tensor) -> bool:
    """Whether writes to the weight are counted and its memory can be looked at."""
    plain = type(weight) in (Tensor, torch.nn.Parameter) and not torch._C._are_functorch_transforms_active()
    return plain and not weight.is_inference() and not weight.is_meta
