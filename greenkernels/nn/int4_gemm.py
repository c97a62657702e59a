"""Int4Linear: nn.Linear with a 4-bit weight and inputs quantized to 8 bits on the way in, on the int4_gemm kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..ops.int4_gemm_op import dequantize, pack, packed_gemm, unpack
from ..ops.int4_packing import GROUPS, group_count
from .conversion import check_attributes, check_stock
from .few_bits import FewBitLinear
from .int4_weights import from_nibbles, quantize_groups, to_nibbles
from .quantized_module import DTYPES, wrong_format

if TYPE_CHECKING:
    from ..energy.counts import Counts

_FORMAT = 1  # of the state_dict


class Int4Linear(FewBitLinear):
    """Stands in for ``nn.Linear`` in inference where reading the weight is what takes the time: an eighth of its bytes.

    ``forward(input)`` computes ``activation(input @ weight^T + bias)`` as ``greenkernels.ops.int4_gemm`` does. The
    weight has one scale for each group of ``group`` input features of an output feature:
    ``weight[j, d] = weight_scale[j, d // group] * q[j, d]`` with ``q`` in [-8, 7]. Each row of the input is rounded to
    8 bits while the kernel reads it. Float in, float out.

    ``weight`` is a property that gives the float weight back, rounded as it was; ``bias`` is a float32 Parameter. The
    ``state_dict`` holds ``weight_int4``, two elements a byte, ``weight_scale`` and ``bias``; a ``state_dict`` of
    ``nn.Linear`` is quantized as it is loaded. ``to(dtype)`` and ``half()`` change nothing: the result has the dtype of
    the input.

    A call that the kernel does not cover (device, dtype, a gradient, no compiled kernel, GREENKERNELS_DISABLE=1) runs
    ``F.linear`` on ``weight``, is counted in ``fallbacks`` and logged once.

    Args:
        in_features, out_features, bias, device: As in ``nn.Linear``. The weight is 0 until it is loaded; use
            ``from_module``.
        group: Input features that share a scale: 32, 64 or 128.
        activation: Applied last; a name of ``greenkernels.ops.int4_gemm`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01) or "prelu" (default 0.25): a float, or for "prelu" a
            tensor with 1 or ``out_features`` elements.
        strict: Whether to raise a RuntimeError instead of falling back.

    Attributes:
        fallbacks: Reason -> number of calls that ran ``F.linear`` for it.

    Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR
    2023, for the form of the weight; its values are rounded to the nearest, not found as there.
    """

    stem, op = "int4_gemm_packed", packed_gemm

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        *,
        group: int = 64,
        activation: str | None = None,
        activation_param: Tensor | float | None = None,
        strict: bool = False,
    ) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would register the float weight
        if group not in GROUPS:
            raise ValueError(f"group must be 32, 64 or 128, got {group}")
        self.in_features, self.out_features, self.group = in_features, out_features, group
        values = torch.zeros(out_features, in_features, dtype=torch.int8, device=device)
        scale = torch.ones(out_features, group_count(in_features, group), device=device)
        self._set_packed(
            pack(values, scale, group), out_features if bias else None, activation, activation_param, strict
        )

    @classmethod
    def from_module(cls, stock: nn.Module, **options: Any) -> Int4Linear:
        """The module that computes what ``stock`` does, up to the rounding of weight and input.

        Args:
            stock: an ``nn.Linear`` of float16, bfloat16 or float32.
            **options: the keyword-only arguments of the constructor.

        Raises:
            ValueError: ``stock`` is nothing of that, has hooks, or a weight that is not finite; the message says so.
        """
        check_stock(stock, nn.Linear)
        check_attributes(stock, {}, DTYPES)
        bias = None if stock.bias is None else stock.bias.detach()
        found = quantize_groups(stock.weight, options.get("group", 64))
        return cls.from_int4(*found, bias, **options).train(stock.training)

    @classmethod
    def from_int4(
        cls, values: Tensor, scale: Tensor, bias: Tensor | None = None, **options: Any
    ) -> Int4Linear:
        """The module with a weight that is quantized already.

        Args:
            values: int8 ``[out_features, in_features]`` in [-8, 7].
            scale: float32 ``[out_features, ceil(in_features / group)]``; rounded to bfloat16.
            bias: ``[out_features]`` or None.
            **options: the keyword-only arguments of the constructor.
        """
        return cls._made_of([values, scale], bias, **options)

    def _sizes(self) -> tuple[int, ...]:
        return (self.group,)

    def _pack(self, values: Tensor, scale: Tensor) -> Tensor:
        return pack(values, scale, self.group)

    @property
    def weight_int4(self) -> tuple[Tensor, Tensor]:
        """The quantized weight, int8 ``[out_features, in_features]``, and its scales, made anew on each access."""
        return unpack(self.packed, self.out_features, self.in_features, self.group)

    @property
    def weight(self) -> Tensor:
        """The float32 weight of the stock module's shape, made anew on each access."""
        return dequantize(*self.weight_int4, self.group)

    def _parts(self) -> dict[str, Tensor]:
        values, scale = self.weight_int4
        return {
            "weight_int4": to_nibbles(values),
            "weight_scale": scale.bfloat16(),  # exact
            "int4_format": torch.tensor(_FORMAT),
        }

    def _take_weight(self, state: dict[str, Tensor], missing: list[str]) -> str | None:
        another = wrong_format(state, "int4_format", _FORMAT)
        stock, nibbles, scale = (state.pop(n, None) for n in ("weight", "weight_int4", "weight_scale"))
        n, k = self.out_features, self.in_features
        wanted = [n, (k + 1) // 2], [n, group_count(k, self.group)]
        got = tuple(None if part is None else list(part.shape) for part in (nibbles, scale))
        if another is not None:
            return another
        if nibbles is None and stock is not None and stock.shape == (n, k):
            self._set_weight(*quantize_groups(stock, self.group))
        elif got == wanted:
            self._set_weight(from_nibbles(nibbles, k), scale.float())
        else:
            return (
                f"weight_int4 and weight_scale must be {wanted[0]} and {wanted[1]}, or weight be there, got {got[0]} "
                f"and {got[1]}"
            )
        return None

    def extra_repr(self) -> str:
        """The stock text, and what is special here."""
        return self._described(f"group={self.group}")

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of the kernel in a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.kernels.int4_gemm import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)
