"""StrassenLinear: nn.Linear on the kernels of sgemm and strassen_gemm."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import _library
from ..ops import activation as activations
from ..ops.conv2d_checks import FLOATS
from ..ops.gemm_ops import apply_activation
from ..ops.rows import as_rows
from ..ops.strassen_gemm import check_levels
from ..ops.strassen_gemm_op import gemm, pack, packed_gemm
from ..ops.strassen_levels import choose_levels
from . import sharding
from .conversion import check_attributes, check_stock
from .fallbacks import converted_on_cuda, count_fallback, why_stock
from .packing import KeepsPackedWeight

if TYPE_CHECKING:
    from ..energy.counts import Counts


class StrassenLinear(KeepsPackedWeight, nn.Linear):
    """Drop-in for ``nn.Linear``: ``activation(input @ weight.T + bias)``, as ``greenkernels.ops.strassen_gemm``.

    The weight in the kernel's order is kept in the non-persistent buffer ``packed``, for a given number of levels as
    the sums of its blocks, with "auto" for level 0; calls for which "auto" takes another level read the weight itself.
    Eager calls pack again when the weight's storage, shape or version changed; ``load_state_dict``, ``to`` and the
    like, ``train()``, ``eval()`` and unpickling always do. Writes through ``weight.data`` cannot be seen: call
    ``repack()`` after them. Calls that need the gradient of the weight pack on the fly. Under ``torch.compile`` and
    ``torch.export`` in eval mode the graph reads ``packed`` as it is: after writing to the weight call ``repack()``.

    A call that the kernel does not cover (device, dtype, layout, no compiled kernel, GREENKERNELS_DISABLE=1) runs
    torch's own product on the same weight, is counted in ``fallbacks`` and logged once.

    Args:
        levels: Of Strassen's algorithm, 0 to 3, or "auto"; see ``greenkernels.ops.strassen_gemm`` for the error.
        activation: Applied last; "relu", "relu6", "silu", "gelu", "sigmoid", "tanh", "hardswish", "hardsigmoid" or
            None.
        strict: Whether to raise a RuntimeError instead of falling back.

    The other arguments are those of ``nn.Linear``.

    Attributes:
        fallbacks: Reason -> number of calls that ran torch's product for it.
    """

    deferred = False  # what `follow` sets

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        levels: int | str = "auto",
        activation: str | None = None,
        strict: bool = False,
    ) -> None:
        check_levels(levels)
        if levels != "auto" and not 0 <= levels <= 3:
            raise ValueError(f'levels must be "auto" or 0 to 3, got {levels!r}')
        activations.check_activation(activation, None)
        if activation in activations.WITH_PARAM:
            raise ValueError(f"activation must be one without a parameter, got {activation!r}")
        super().__init__(in_features, out_features, bias, device, dtype)
        check_attributes(self, {}, FLOATS)
        self.levels, self.activation, self.strict = levels, activation, strict
        self.fallbacks: dict[str, int] = {}

    @classmethod
    def from_module(cls, stock: nn.Linear, **options: Any) -> "StrassenLinear":
        """The module that computes what ``stock`` does, on the same Parameters.

        Args:
            stock: The module to replace.
            **options: The keyword-only arguments of the constructor.

        Raises:
            ValueError: ``stock`` is not exactly an ``nn.Linear``, has hooks, or a weight of another dtype.
        """
        check_stock(stock, nn.Linear)
        sizes = (stock.in_features, stock.out_features, stock.bias is not None)
        module = cls(*sizes, "meta", stock.weight.dtype, **options)
        module.weight, module.bias = stock.weight, stock.bias
        return module.train(stock.training)

    def to_module(self) -> nn.Module:
        """The stock module on the same Parameters: an ``nn.Linear``, in an ``nn.Sequential`` with its activation."""
        linear = nn.Linear(
            self.in_features, self.out_features, self.bias is not None, "meta", self.weight.dtype
        )
        linear.weight, linear.bias = self.weight, self.bias
        if self.activation is None:
            return linear.train(self.training)
        return nn.Sequential(linear, activations.to_module(self.activation, None)).train(self.training)

    def follow(self, norm: None = None, deferred: bool = False) -> "StrassenLinear":
        """As ``DirectConv2d.follow``, without a batch norm: ``deferred`` leaves the activation to calls that ask."""
        if norm is not None:
            raise ValueError(f"norm must be None, got {type(norm).__name__}")
        self.deferred = deferred
        return self

    def forward(self, input: Tensor, fused: bool | None = None) -> Tensor:
        """``activation(input @ weight.T + bias)``.

        Args:
            input: ``[..., in_features]``, any strides.
            fused: False for the product without activation; None for True, unless ``follow`` deferred it.

        Returns:
            ``[..., out_features]``, row-major.
        """
        if fused is False or (fused is None and self.deferred):
            return F.linear(input, self.weight, self.bias)
        weight, bias = self.weight, self.bias
        if sharding.is_sharded(weight):
            return self._forward_sharded(input, weight, bias)
        reason = why_stock("strassen_gemm", input, weight)
        if reason is not None:
            return self._forward_stock(reason, input)
        return as_rows(input, lambda rows: self._product(rows, weight, bias, self.activation))

    def _forward_sharded(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The product of the shards that are here; the activation behind it, where a sum may still have to be taken."""

        def product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            reason = why_stock("strassen_gemm", rows, weight)
            if reason is None:
                return as_rows(rows, lambda rows: self._product(rows, weight, bias, None))
            count_fallback(self, reason, "torch's product")
            return F.linear(rows, weight, bias)

        out = sharding.linear(input, weight, bias, product)
        return out if self.activation is None else activations.to_module(self.activation, None)(out)

    def _product(self, rows: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None) -> Tensor:
        levels, out_features = self.levels, weight.shape[0]
        epilogue = (activation, None)
        if levels == "auto":
            levels = choose_levels(rows.shape[0], out_features, weight.shape[1], rows.dtype, rows.device)
        # A single row reads the weight faster where it lies, in several streams (docs/performance.md), as CUDA does.
        takes_packed = levels == self._packed_levels and (levels > 0 or (rows.shape[0] != 1 and rows.is_cpu))
        packed = self._packed_for(rows, weight) if takes_packed else None
        if packed is None:
            return gemm(rows, weight, bias, levels, *epilogue)
        return packed_gemm(rows, packed, bias, out_features, levels, *epilogue)

    @property
    def _packed_levels(self) -> int:
        return 0 if self.levels == "auto" else self.levels

    def _packed_for(self, rows: Tensor, weight: Tensor) -> Tensor | None:
        """The packed weight if this call may use it, else None."""
        if torch.is_grad_enabled() and weight.requires_grad and not torch.compiler.is_exporting():
            return None
        if rows.shape[1] != weight.shape[1]:
            return None  # the check of the plain op has the better words
        if rows.dtype != weight.dtype and not torch.is_autocast_enabled("cpu"):
            return None
        if torch.compiler.is_compiling():
            return None if self.training else self.packed
        return self.fresh_packed(weight)

    def _forward_stock(self, reason: str, input: Tensor) -> Tensor:
        count_fallback(self, reason, "torch's product")
        out = F.linear(input, self.weight, self.bias)
        return as_rows(out, lambda rows: apply_activation(self.activation, rows, None))

    def _pack(self, weight: Tensor) -> Tensor | None:
        if _library.DISABLED or weight.dtype not in FLOATS or converted_on_cuda(weight):
            return None
        if weight.is_cuda and self._packed_levels == 0:  # sgemm there reads it as it lies
            return None
        if not _library.compiled("strassen_gemm_pack", weight):
            return None
        return pack(weight, self._packed_levels)

    def counts(self, *input_shapes: Sequence[int]) -> "Counts":
        """Work of the kernel in a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.kernels.strassen_gemm import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)

    def extra_repr(self) -> str:
        packed = self._buffers.get("packed")
        parts = [super().extra_repr(), f"levels={self.levels}"]
        if self.activation is not None:
            parts.append(f"activation={self.activation}")
        parts.append(f"packed_bytes={0 if packed is None else packed.numel() * packed.element_size()}")
        return ", ".join(parts)
