"""SparseLinear: nn.Linear with a pruned weight, on the csr_matmul kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.csr_matmul_op import matmul, packed_matmul
from ..ops.csr_packing import layout_batch
from .conversion import check_stock
from .sparse_weight import KeepsSparseWeight, only_pruning_hooks, pruned_weight

if TYPE_CHECKING:
    from ..energy.counts import Counts

DEFAULT_BATCH = 64  # rows of x; from 33 on the layout is the same


class SparseLinear(KeepsSparseWeight, nn.Linear):
    """Stand-in for ``nn.Linear`` that stores and multiplies the nonzeros of its weight alone.

    ``values`` ``[nnz]`` is a Parameter, so an optimizer keeps state for the nonzeros only and training keeps the zeros:
    gradients exist at the nonzeros alone. ``weight`` gives the dense weight back, read-only.

    Packed copies of the weight are made when first needed, one for each of four ranges of batch sizes (1 to 2, to 16,
    to 32, beyond), and again when ``values`` changed; the one for ``batch`` is the non-persistent buffer ``packed``,
    which graphs of ``torch.compile`` and ``torch.export`` in eval mode read as it is. After writing through
    ``values.data`` call ``repack()``.

    ``state_dict()`` is that of the stock layer, the dense ``weight`` and ``bias``; ``load_state_dict`` makes the zeros
    of a ``weight`` the layer's. ``values`` is a new Parameter if the number of nonzeros changes. The file that shrinks
    with sparsity is that of ``greenkernels.save``.

    A call that the kernel does not cover (device, dtype, no compiled kernel, GREENKERNELS_DISABLE=1) runs torch's own
    dense product, is counted in ``fallbacks`` and logged once.

    Args:
        in_features, out_features, bias, device, dtype: As for ``nn.Linear``. The weight of a layer made so is zero
            until ``load_state_dict`` fills it; ``from_module`` and ``from_sparse_csr`` make one of a weight.
        batch: Rows of input that graphs are compiled for; any other number is right too.
        strict: Whether to raise a RuntimeError instead of falling back.

    Attributes:
        fallbacks: Reason -> number of calls that ran torch's dense product for it.
        sparsity: Share of the weight that is not stored.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        batch: int = DEFAULT_BATCH,
        strict: bool = False,
    ) -> None:
        nn.Module.__init__(self)
        empty = torch.zeros(out_features, in_features, device=device, dtype=dtype)
        self._set_linear(empty, empty != 0, batch, strict)
        offset = nn.Parameter(empty.new_zeros(out_features)) if bias else None
        self.register_parameter("bias", offset)

    def _set_linear(self, weight: Tensor, kept: Tensor, batch: int, strict: bool) -> None:
        self.out_features, self.in_features = weight.shape
        self._set_sparse(weight, kept, layout_batch(batch, self.in_features), strict)

    @classmethod
    def from_module(
        cls, stock: nn.Linear, *, batch: int = DEFAULT_BATCH, strict: bool = False, warn: bool = True
    ) -> SparseLinear:
        """The layer of the nonzeros of ``stock``, on the same bias.

        Args:
            stock: An ``nn.Linear``, also one pruned with ``torch.nn.utils.prune``, whose mask then says what is kept.
            batch: Rows of input that it will get.
            strict: As for the constructor.
            warn: Whether to time both layers on ``batch`` rows, which takes some 20 calls of each, and to warn with the
                times where the dense layer is faster.

        Raises:
            ValueError: ``stock`` is not exactly an ``nn.Linear``, has other hooks than pruning's, or a weight of a
                dtype that the kernel lacks; the message names it.
        """
        if not only_pruning_hooks(stock) or type(stock) is not nn.Linear:
            check_stock(stock, nn.Linear)
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        module._set_linear(*pruned_weight(stock), batch, strict)
        module.register_parameter("bias", stock.bias)
        module.values.requires_grad_(any(p.requires_grad for n, p in stock.named_parameters() if n != "bias"))
        module.train(stock.training)
        if warn:
            from .sparse_speed import warn_if_slower  # not needed to run the layer

            warn_if_slower(stock, module, (batch, module.in_features))
        return module

    @classmethod
    def from_sparse_csr(
        cls,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        batch: int = DEFAULT_BATCH,
        strict: bool = False,
    ) -> SparseLinear:
        """The layer of a ``torch.sparse_csr`` weight ``[out_features, in_features]``.

        Raises:
            ValueError: ``weight`` is not a two-dimensional tensor in CSR form.
        """
        if weight.layout is not torch.sparse_csr or weight.dim() != 2:
            raise ValueError(
                f"weight must be a 2-D torch.sparse_csr tensor, got {weight.dim()}-D, {weight.layout}"
            )
        n, k = weight.shape
        module = cls(k, n, bias is not None, dtype=weight.dtype, batch=batch, strict=strict)
        module._replace(weight.crow_indices().long().clone(), weight.col_indices().long(), weight.values())
        if bias is not None:
            module.bias = nn.Parameter(bias.detach().clone())
        module._weight_replaced()
        return module

    def to_module(self) -> nn.Linear:
        """The stock layer: the dense weight, zeros included, and the same bias; exact."""
        has_bias = self.bias is not None
        linear = nn.Linear(self.in_features, self.out_features, has_bias, device="meta")
        linear.weight = nn.Parameter(self.weight.detach(), requires_grad=self.values.requires_grad)
        linear.bias = self.bias
        return linear.train(self.training)

    def reset_parameters(self) -> None:
        """New values at the same places, uniform as those of ``nn.Linear`` are."""
        bound = self.in_features**-0.5 if self.in_features else 0.0
        for parameter in (self.values, self.bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)

    def _dense_shape(self) -> tuple[int, ...]:
        return self.out_features, self.in_features

    def forward(self, input: Tensor) -> Tensor:
        """``input @ weight.T + bias``.

        Args:
            input: ``[..., in_features]``, any strides.

        Returns:
            ``[..., out_features]``.
        """
        reason = self._fallback_reason(input)
        if reason is not None:
            self._count_fallback(reason)
            return F.linear(input, self.weight, self.bias)
        values, bias = self._parameters["values"], self._parameters["bias"]
        batch, packed = self._packed(input, values)
        if packed is None:
            return matmul(self.crow_indices, self.col_indices, values, input, bias)
        return packed_matmul(input, packed, bias, self.out_features, values.shape[0], batch)

    def _packed(self, input: Tensor, values: Tensor) -> tuple[int, Tensor | None]:
        """The packed weight if this call may use it, and the batch it was packed for."""
        if torch.is_grad_enabled() and values.requires_grad and not torch.compiler.is_exporting():
            return 0, None
        if input.dtype != values.dtype and not torch.is_autocast_enabled(input.device.type):
            return 0, None  # the check of the plain op has the better words
        if input.dim() == 0 or input.shape[-1] != self.in_features:
            return 0, None
        if torch.compiler.is_compiling():
            return self.batch, None if self.training else self.packed
        rows = input.numel() // self.in_features if self.in_features else 0
        batch = layout_batch(rows, self.in_features)
        return batch, self.packed_for(batch)

    def extra_repr(self) -> str:
        packed = sum(p.numel() for _, p in self._packs.values())
        return f"{super().extra_repr()}, nnz={self.values.numel()}, sparsity={self.sparsity:.3f}, packed_bytes={packed}"

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of the kernel in a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.kernels.csr_matmul import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)
