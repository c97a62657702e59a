"""HalfLinear: nn.Linear with its weight stored in 16 bits and float32 arithmetic, on the half_gemm kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..ops.half_gemm_op import pack, packed_gemm, unpack
from ..ops.half_packing import FORMATS
from .conversion import check_attributes, check_stock
from .few_bits import FewBitLinear
from .quantized_module import DTYPES

if TYPE_CHECKING:
    from ..energy.counts import Counts


def check_storage(storage: str) -> None:
    """Raises a ValueError for what is not the name of a format."""
    if storage not in FORMATS:
        raise ValueError(f"storage must be one of {', '.join(FORMATS)}, got {storage!r}")


def rounded(weight: Tensor, storage: str) -> Tensor:
    """A weight in a format. Raises a ValueError where it is not finite then."""
    found = weight.detach().to(FORMATS[storage])
    if not found.isfinite().all():
        raise ValueError(f"weight must be finite in {storage}, got NaN, infinite or too large values")
    return found


class HalfLinear(FewBitLinear):
    """Stands in for ``nn.Linear`` in inference where reading the weight is what takes the time: half of its bytes.

    ``forward(input)`` computes ``activation(input @ weight^T + bias)`` as ``greenkernels.ops.half_gemm`` does: the
    kernel widens the weight to float32 as it reads it, so only the rounding of the weight is lost, about 2^-12 of each
    in float16 and 2^-9 in bfloat16. Float in, float out.

    ``weight`` is a property that gives the float32 weight back, rounded as it was; ``bias`` is a float32 Parameter. The
    ``state_dict`` is that of ``nn.Linear``, with ``weight`` in 16 bits; one of ``nn.Linear`` is rounded on its way in.
    ``to(dtype)`` and ``half()`` change nothing: the result has the dtype of the input.

    A call that the kernel does not cover (device, dtype, a gradient, no compiled kernel, GREENKERNELS_DISABLE=1) runs
    ``F.linear`` on ``weight``, is counted in ``fallbacks`` and logged once.

    Args:
        in_features, out_features, bias, device: As in ``nn.Linear``. The weight is 0 until it is loaded; use
            ``from_module``.
        storage: "float16", or "bfloat16" for weights of more than 65504 in size or already of that dtype.
        activation: Applied last; a name of ``greenkernels.ops.half_gemm`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01) or "prelu" (default 0.25): a float, or for "prelu" a
            tensor with 1 or ``out_features`` elements.
        strict: Whether to raise a RuntimeError instead of falling back.

    Attributes:
        fallbacks: Reason -> number of calls that ran ``F.linear`` for it.

    Source: Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019, for one of the two formats.
    """

    stem, op = "half_gemm_packed", packed_gemm

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        *,
        storage: str = "float16",
        activation: str | None = None,
        activation_param: Tensor | float | None = None,
        strict: bool = False,
    ) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would register the float weight
        check_storage(storage)
        self.in_features, self.out_features, self.storage = in_features, out_features, storage
        zeros = torch.zeros(out_features, in_features, dtype=FORMATS[storage], device=device)
        self._set_packed(pack(zeros), out_features if bias else None, activation, activation_param, strict)

    @staticmethod
    def check(stock: nn.Module, storage: str = "float16") -> Tensor:
        """Raises the ValueError of ``from_module``, without packing; returns the rounded weight."""
        check_stock(stock, nn.Linear)
        check_attributes(stock, {}, DTYPES)
        return rounded(stock.weight, storage)

    @classmethod
    def from_module(cls, stock: nn.Module, **options: Any) -> HalfLinear:
        """The module that computes what ``stock`` does, up to the rounding of the weight.

        Args:
            stock: an ``nn.Linear`` of float16, bfloat16 or float32.
            **options: the keyword-only arguments of the constructor.

        Raises:
            ValueError: ``stock`` is nothing of that, has hooks, or a weight that is not finite in this storage; the
                message says so.
        """
        storage = options.pop("storage", "float16")
        check_storage(storage)
        return cls.from_half(cls.check(stock, storage), stock.bias, **options).train(stock.training)

    @classmethod
    def from_half(cls, weight: Tensor, bias: Tensor | None = None, **options: Any) -> HalfLinear:
        """The module with a weight that is in 16 bits already.

        Args:
            weight: float16 or bfloat16 ``[out_features, in_features]``.
            bias: ``[out_features]`` or None.
            **options: the keyword-only arguments of the constructor but ``storage``.
        """
        options["storage"] = str(weight.dtype).removeprefix("torch.")
        return cls._made_of([weight], bias, **options)

    def _sizes(self) -> tuple[int, ...]:
        return ()

    def _pack(self, weight: Tensor) -> Tensor:
        return pack(weight)

    @property
    def weight_half(self) -> Tensor:
        """The weight ``[out_features, in_features]`` in the storage's dtype, made anew on each access."""
        return unpack(self.packed, self.out_features, self.in_features)

    @property
    def weight(self) -> Tensor:
        """The float32 weight of the stock module's shape, made anew on each access."""
        return self.weight_half.float()

    def _parts(self) -> dict[str, Tensor]:
        return {"weight": self.weight_half}

    def _take_weight(self, state: dict[str, Tensor], missing: list[str]) -> str | None:
        weight, wanted = state.pop("weight", None), [self.out_features, self.in_features]
        if weight is None:
            missing.append("weight")
            return None
        if list(weight.shape) != wanted:
            return f"weight must have shape {wanted}, got {list(weight.shape)}"
        try:
            self._set_weight(
                weight if weight.dtype == FORMATS[self.storage] else rounded(weight, self.storage)
            )
        except ValueError as problem:
            return str(problem)
        return None

    def extra_repr(self) -> str:
        """The stock text, and what is special here."""
        return self._described(f"storage={self.storage}")

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of the kernel in a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.kernels.half_gemm import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)
