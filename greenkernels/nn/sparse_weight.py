"""A module whose weight is kept as its nonzeros: what the sparse stand-ins share, whatever they compute with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from ..ops import _library, csr_packing
from ..ops.conv2d_checks import FLOATS
from ..ops.csr_matmul_op import pack
from . import sharding, sparse_file
from .fallbacks import count_fallback, why_stock
from .packing import PackedFrom, can_track

if TYPE_CHECKING:
    from typing_extensions import Self


PACKED_KEY = "packed_weight"  # in files of greenkernels.save, in the place of "weight"
PRUNED_PER_CALL = ("weight_orig", "weight_mask")  # what torch.nn.utils.prune puts on a module


def pruned_weight(module: nn.Module) -> tuple[Tensor, Tensor]:
    """The weight of a stock module and which of its elements are kept: the mask of torch's pruning, else nonzeros."""
    if all(hasattr(module, name) for name in PRUNED_PER_CALL):
        mask = module.weight_mask.bool()
        return module.weight_orig.detach() * mask, mask
    return module.weight.detach(), module.weight.detach() != 0


def only_pruning_hooks(module: nn.Module) -> bool:
    """Whether all its hooks are those of ``torch.nn.utils.prune``, which compute the weight."""
    others = (module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    hooks = module._forward_pre_hooks.values()
    return not any(others) and all(isinstance(hook, prune.BasePruningMethod) for hook in hooks)


class KeepsSparseWeight(nn.Module):
    """A module with the nonzeros of its weight, seen as ``[n, k]``, in ``values``, and their places in CSR form.

    Comes before the stock class among the bases; the subclass calls ``nn.Module.__init__`` and ``_set_sparse`` instead
    of the stock constructor, and defines ``_dense_shape``.
    """

    stem: ClassVar[str] = "csr_matmul"
    values: nn.Parameter
    crow_indices: Tensor
    col_indices: Tensor
    packed: Tensor | None

    def _set_sparse(self, dense: Tensor, kept: Tensor, batch: int, strict: bool) -> None:
        """The elements of ``dense`` that ``kept`` names become ``values``, also zeros: they may be trained."""
        if dense.dtype not in FLOATS:
            raise ValueError(f"weight must be one of {', '.join(map(str, FLOATS))}, got dtype={dense.dtype}")
        self.batch, self.strict = batch, strict
        self.fallbacks: dict[str, int] = {}
        rows = kept.flatten(1) if kept.dim() > 1 else kept[None]
        crow = torch.nn.functional.pad(rows.sum(1).cumsum(0), (1, 0))
        self.register_buffer("crow_indices", crow, persistent=False)
        self.register_buffer("col_indices", rows.nonzero()[:, 1].contiguous(), persistent=False)
        self.register_parameter("values", nn.Parameter(dense[kept].contiguous()))
        self.register_buffer("packed", None, persistent=False)
        self._packs: dict[int, tuple[PackedFrom, Tensor]] = {}

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Refuses what ColwiseParallel would cut apart from the places of the nonzeros."""
        sharding.refuse(self, name, param)
        super().register_parameter(name, param)

    def __setattr__(self, name: str, value: Any) -> None:
        """fully_shard puts shards here, and gathered values in memory that it wrote to without torch counting it."""
        if name == "values":
            self._packs = {}
        if sharding.is_sharded(value):
            self._parameters[name] = value
        else:
            super().__setattr__(name, value)

    def _dense_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    @property
    def weight(self) -> Tensor:
        """The dense weight, made anew on each access; a function of ``values`` that can be differentiated."""
        shape, values = self._dense_shape(), sharding.gathered(self.values)
        k = math.prod(shape[1:])
        flat = csr_packing.rows_of(self.crow_indices, values.shape[0]) * k + self.col_indices
        return values.new_zeros(shape[0] * k).index_put((flat,), values).reshape(shape)

    @property
    def sparsity(self) -> float:
        """Share of the weight that is not stored, 0 to 1."""
        return 1 - self.values.numel() / max(1, math.prod(self._dense_shape()))

    def to_sparse_csr(self) -> Tensor:
        """The weight, seen as ``[n, k]``, as a sparse tensor of torch."""
        n, *rest = self._dense_shape()
        parts = (self.crow_indices, self.col_indices, self.values.detach())
        return torch.sparse_csr_tensor(*parts, (n, math.prod(rest)), check_invariants=False)

    # --- packed weights

    def _can_pack(self) -> bool:
        values = self.values
        if _library.DISABLED or values.device.type != "cpu" or not can_track(values):
            return False
        return _library.compiled("csr_matmul_pack", values)

    def packed_for(self, batch: int) -> Tensor | None:
        """The weight packed for products of ``batch`` rows, anew if it changed; None where it cannot be packed."""
        values = self._parameters["values"]
        found = self._packs.get(batch)
        if found is not None and found[0].is_state_of(values):
            return found[1]
        if not self._can_pack():
            return None
        made_from = PackedFrom.of(values)
        k = math.prod(self._dense_shape()[1:])
        with torch.inference_mode(False), torch.no_grad():  # autograd saves no tensor made in inference mode
            packed = pack(self.crow_indices, self.col_indices, values.detach(), k, batch)
        self._packs[batch] = made_from, packed
        return packed

    def repack(self) -> None:
        """Packs the weight again; needed only after a write that torch does not count (``values.data``)."""
        self._packs = {}
        self.packed = self.packed_for(self.batch)

    def _weight_replaced(self) -> None:
        """The weight may have changed: eval mode packs now, so that a compiler finds the buffer."""
        if self.training:
            self._packs, self.packed = {}, None
        else:
            self.repack()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._weight_replaced()
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._packs, self.packed = {}, None
        super()._apply(fn, recurse)
        self._weight_replaced()
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packs": {}, "_buffers": {**self._buffers, "packed": None}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._weight_replaced()

    # --- files

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.weight if keep_vars else self.weight.detach()
        if self.bias is not None:
            destination[prefix + "bias"] = self.bias if keep_vars else self.bias.detach()

    def packed_weight(self) -> Tensor:
        """uint8 ``[bytes]``: the nonzeros and their places, as `greenkernels.save` writes them."""
        k = math.prod(self._dense_shape()[1:])
        return sparse_file.encode(self.crow_indices, self.col_indices, self.values, k)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        own = {prefix + PACKED_KEY: self._load_packed, prefix + "weight": self._load_dense}
        rest = {key: value for key, value in state_dict.items() if key not in own}
        given = next((key for key in own if key in state_dict), None)
        if given is None:
            missing_keys.append(prefix + "weight")
        else:
            try:
                own[given](state_dict[given])
            except ValueError as error:
                error_msgs.append(f"{given} {error}")
        rest[prefix + "values"] = self.values.detach()  # is in place already
        args = (local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        super()._load_from_state_dict(rest, prefix, *args)
        self._weight_replaced()

    def _load_packed(self, packed: Tensor) -> None:
        crow, col, values, columns = sparse_file.decode(packed)
        shape = self._dense_shape()
        if (crow.shape[0] - 1, columns) != (shape[0], math.prod(shape[1:])):
            raise ValueError(f"must be of shape {list(shape)}, got {crow.shape[0] - 1} rows of {columns}")
        self._replace(crow, col, values)

    def _load_dense(self, weight: Tensor) -> None:
        if tuple(weight.shape) != self._dense_shape():
            raise ValueError(f"must be of shape {list(self._dense_shape())}, got {list(weight.shape)}")
        rows = weight.detach().reshape(weight.shape[0], -1)
        kept = rows != 0
        crow = torch.nn.functional.pad(kept.sum(1).cumsum(0), (1, 0))
        self._replace(crow, kept.nonzero()[:, 1], rows[kept])

    def _replace(self, crow: Tensor, col: Tensor, values: Tensor) -> None:
        """New nonzeros. The Parameter stays the same if their number does, so that an optimizer keeps its own."""
        old = self.values
        self.crow_indices, self.col_indices = crow.to(old.device), col.contiguous().to(old.device)
        if values.shape == old.shape:
            with torch.no_grad():
                old.copy_(values)
        else:
            self.values = nn.Parameter(values.to(old), requires_grad=old.requires_grad)

    # --- what it cannot do

    def _fallback_reason(self, input: Tensor) -> str | None:
        sharding.refuse(self, "values", self.values)
        sharding.refuse(self, "input", input)
        return why_stock(self.stem, input, self.values, "values")

    def _count_fallback(self, reason: str) -> None:
        count_fallback(self, reason, "torch's dense layer")
