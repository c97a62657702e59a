"""The packed weight of a module, and when it is still that of its weight.

Shared by all modules that keep one: what is packed depends on the module, when to pack again does not.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from . import sharding

if TYPE_CHECKING:
    from typing_extensions import Self

_fused_steps = 0  # of all optimizers: torch counts no writes of a fused step in _version


def _count_fused_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    global _fused_steps
    _fused_steps += any(group.get("fused") for group in optimizer.param_groups)


register_optimizer_step_post_hook(_count_fused_step)


class PackedOnEachCall(UserWarning):
    """A module's weight has to be packed in each of its calls, because torch counts no writes to it."""


class PackedFrom(NamedTuple):
    """The state of a weight at the moment it was packed.

    ``alias`` shares the storage of the weight and so keeps its address from being used for another one.
    """

    alias: Tensor
    address: int
    version: int
    dtype: torch.dtype
    shape: torch.Size
    strides: tuple[int, ...]
    fused_steps: int

    @classmethod
    def of(cls, weight: Tensor) -> PackedFrom:
        return cls(
            weight.detach(),
            weight.data_ptr(),
            weight._version,
            weight.dtype,
            weight.shape,
            weight.stride(),
            _fused_steps,
        )

    def is_state_of(self, weight: Tensor) -> bool:
        """Whether nothing was written to the weight since, as far as torch counts writes."""
        return (
            weight._version == self.version
            and _fused_steps == self.fused_steps
            and weight.data_ptr() == self.address
            and weight.dtype is self.dtype
            and weight.shape == self.shape
            and weight.stride() == self.strides
        )


def can_track(weight: Tensor) -> bool:
    """Whether writes to the weight are counted and its memory can be looked at."""
    plain = type(weight) in (Tensor, nn.Parameter) and not torch._C._are_functorch_transforms_active()
    return plain and not weight.is_inference() and not weight.is_meta


class KeepsPackedWeight(nn.Module):
    """A module with ``weight`` that keeps a packed copy of it in the non-persistent buffer ``packed``.

    Comes before the stock class among the bases. The module defines ``_pack(weight)``, which returns the
    packed weight, or None where this weight has none.
    """

    packed: Tensor | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._packed_from: PackedFrom | None = None
        self.register_buffer("packed", None, persistent=False)

    def _pack(self, weight: Tensor) -> Tensor | None:
        raise NotImplementedError

    def _weight_to_pack(self, weight: Tensor) -> Tensor:
        """What goes into the packed weight: the weight, unless something is folded into it."""
        return weight

    def _is_fresh(self, weight: Tensor) -> bool:
        """Whether ``packed`` was made from the weight as it is now."""
        return self._packed_from is not None and self._packed_from.is_state_of(weight)

    def fresh_packed(self, weight: Tensor) -> Tensor | None:
        """The packed form of ``weight`` as it is now, packed anew if it changed; None where it has none."""
        if not can_track(weight):
            if weight.is_inference():
                warnings.warn(
                    f"{type(self).__name__}: its weight was made under torch.inference_mode(), which counts no writes, "
                    "so it is packed anew in each call; make the module outside of inference_mode",
                    PackedOnEachCall,
                    stacklevel=2,
                )
            return None
        if not self._is_fresh(weight):
            self.repack()
        return self.packed

    def repack(self) -> None:
        """Packs the weight again; needed only after a write that torch does not count (``weight.data``)."""
        weight = sharding.local(self.weight)
        packed = packed_from = None
        if can_track(weight):
            packed_from = PackedFrom.of(weight)
            with (
                torch.inference_mode(False),
                torch.no_grad(),
            ):  # autograd saves no tensor made in inference mode
                packed = self._pack(self._weight_to_pack(weight))
        # In this order another thread that sees the new state, or still the old one, finds that state's packed weight.
        self._packed_from = None
        self.packed = packed
        self._packed_from = None if packed is None else packed_from

    def _forget_packed(self) -> None:
        self._packed_from = None
        self.packed = None

    def __setattr__(self, name: str, value: Any) -> None:
        """fully_shard puts the gathered weight here, in memory that it wrote to without torch counting it."""
        if name == "weight":
            self._packed_from = None  # and no more: fully_shard refuses a module whose buffers change
        super().__setattr__(name, value)

    def _weight_replaced(self) -> None:
        """The weight may have changed: eval mode packs now, so that a compiler finds the buffer."""
        if self.training:
            self._forget_packed()
        else:
            self.repack()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._weight_replaced()
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._forget_packed()
        super()._apply(fn, recurse)
        self._weight_replaced()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._weight_replaced()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed_from": None, "_buffers": {**self._buffers, "packed": None}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._weight_replaced()
