"""CodebookLinear: nn.Linear whose weight has 4 or 16 different values, on the codebook_gemm kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ..ops import codebook_packing
from ..ops.codebook_gemm_op import dequantize, pack, packed_gemm, unpack
from ..ops.codebook_packing import group_count
from .codebook_weights import check_finite, from_bytes, quantize_codebook, to_bytes
from .conversion import check_attributes, check_stock
from .few_bits import FewBitLinear
from .quantized_module import DTYPES, wrong_format

if TYPE_CHECKING:
    from ..energy.counts import Counts

_FORMAT = 1  # of the state_dict


class CodebookLinear(FewBitLinear):
    """Stands in for ``nn.Linear`` in inference with a weight of few values: a sixteenth or an eighth of its bytes.

    ``forward(input)`` computes ``activation(input @ weight^T + bias)`` as ``greenkernels.ops.codebook_gemm`` does, with
    ``weight[j, d] = weight_scale[j, d // group] * table[places[j, d]]``. Each row of the input is rounded to 8 bits
    while the kernel reads it. Float in, float out. `greenkernels.compress.share` finds tables and trains them.

    ``weight`` is a property that gives the float weight back; ``bias`` is a float32 Parameter. The ``state_dict`` holds
    ``weight_places``, ``bits`` an element, ``weight_table``, ``weight_scale`` and ``bias``; of a ``state_dict`` of
    ``nn.Linear`` the table is found by k-means as it is loaded. ``to(dtype)`` and ``half()`` change nothing: the result
    has the dtype of the input.

    A call that the kernel does not cover (device, dtype, a gradient, no compiled kernel, GREENKERNELS_DISABLE=1) runs
    ``F.linear`` on ``weight``, is counted in ``fallbacks`` and logged once.

    Args:
        in_features, out_features, bias, device: As in ``nn.Linear``. The weight is 0 until it is loaded; use
            ``from_module``.
        bits: Of a place: 2 for a table of 4 entries, 4 for one of 16.
        group: Input features that share a scale: 32 to 1024, a power of two.
        activation: Applied last; a name of ``greenkernels.ops.codebook_gemm`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01) or "prelu" (default 0.25): a float, or for "prelu" a
            tensor with 1 or ``out_features`` elements.
        strict: Whether to raise a RuntimeError instead of falling back.

    Attributes:
        fallbacks: Reason -> number of calls that ran ``F.linear`` for it.

    Source: Han et al., "Deep Compression", ICLR 2016.
    """

    stem, op = "codebook_gemm_packed", packed_gemm
    GROUPS: ClassVar[tuple[int, ...]] = codebook_packing.GROUPS

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        *,
        bits: int = 4,
        group: int = 64,
        activation: str | None = None,
        activation_param: Tensor | float | None = None,
        strict: bool = False,
    ) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would register the float weight
        if group not in self.GROUPS:
            raise ValueError(f"group must be a power of two from 32 to 1024, got {group}")
        if bits not in (2, 4):
            raise ValueError(f"bits must be 2 or 4, got {bits}")
        self.in_features, self.out_features, self.group, self.bits = in_features, out_features, group, bits
        places = torch.zeros(out_features, in_features, dtype=torch.uint8, device=device)
        scale = torch.ones(out_features, group_count(in_features, group), device=device)
        packed = pack(places, torch.zeros(1 << bits, dtype=torch.int8, device=device), scale, group)
        self._set_packed(packed, out_features if bias else None, activation, activation_param, strict)

    @staticmethod
    def check(stock: nn.Module) -> None:
        """Raises the ValueError of ``from_module``, without looking for a table."""
        check_stock(stock, nn.Linear)
        check_attributes(stock, {}, DTYPES)
        check_finite(stock.weight)

    @classmethod
    def from_module(cls, stock: nn.Module, **options: Any) -> CodebookLinear:
        """The module that computes what ``stock`` does, up to the rounding of weight and input.

        Args:
            stock: an ``nn.Linear`` of float16, bfloat16 or float32, the table of which is found by k-means.
            **options: the keyword-only arguments of the constructor.

        Raises:
            ValueError: ``stock`` is nothing of that, has hooks, or a weight that is not finite; the message says so.
        """
        cls.check(stock)
        bias = None if stock.bias is None else stock.bias.detach()
        options = {"bits": 4, "group": 64} | options
        found = quantize_codebook(stock.weight, options["bits"], options["group"])
        return cls.from_codebook(*found, bias, **options).train(stock.training)

    @classmethod
    def from_codebook(
        cls, places: Tensor, table: Tensor, scale: Tensor, bias: Tensor | None = None, **options: Any
    ) -> CodebookLinear:
        """The module with a weight of places in a table.

        Args:
            places: uint8 ``[out_features, in_features]``.
            table: int8 ``[4]`` or ``[16]`` in [-64, 63].
            scale: float32 ``[out_features, ceil(in_features / group)]``; rounded to bfloat16.
            bias: ``[out_features]`` or None.
            **options: the keyword-only arguments of the constructor but ``bits``.
        """
        options["bits"] = codebook_packing.bits_of(table)
        return cls._made_of([places, table, scale], bias, **options).eval()

    def _sizes(self) -> tuple[int, ...]:
        return self.group, self.bits

    def _pack(self, places: Tensor, table: Tensor, scale: Tensor) -> Tensor:
        return pack(places, table, scale, self.group)

    @property
    def weight_codebook(self) -> tuple[Tensor, Tensor, Tensor]:
        """Places, uint8 ``[out_features, in_features]``, table and scales, made anew on each access."""
        return unpack(self.packed, self.out_features, self.in_features, self.group, self.bits)

    @property
    def weight(self) -> Tensor:
        """The float32 weight of the stock module's shape, made anew on each access."""
        return dequantize(*self.weight_codebook, self.group)

    def _parts(self) -> dict[str, Tensor]:
        places, table, scale = self.weight_codebook
        return {
            "weight_places": to_bytes(places, self.bits),
            "weight_table": table,
            "weight_scale": scale.bfloat16(),  # exact
            "codebook_format": torch.tensor(_FORMAT),
        }

    def _take_weight(self, state: dict[str, Tensor], missing: list[str]) -> str | None:
        another = wrong_format(state, "codebook_format", _FORMAT)
        stock = state.pop("weight", None)
        parts = [state.pop(f"weight_{name}", None) for name in ("places", "table", "scale")]
        n, k = self.out_features, self.in_features
        wanted = [[n, -(-k * self.bits // 8)], [1 << self.bits], [n, group_count(k, self.group)]]
        got = [None if part is None else list(part.shape) for part in parts]
        if another is not None:
            return another
        if got == [None, None, None] and stock is not None and stock.shape == (n, k):
            self._set_weight(*quantize_codebook(stock, self.bits, self.group))
        elif got == wanted:
            places, table, scale = parts
            self._set_weight(from_bytes(places, self.bits, k), table, scale.float())
        else:
            return (
                f"weight_places, weight_table and weight_scale must be {wanted[0]}, {wanted[1]} and {wanted[2]}, or "
                f"weight be there, got {got[0]}, {got[1]} and {got[2]}"
            )
        return None

    def extra_repr(self) -> str:
        """The stock text, and what is special here."""
        return self._described(f"bits={self.bits}", f"group={self.group}")

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of the kernel in a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.kernels.codebook_gemm import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)
