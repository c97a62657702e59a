"""Int8Linear: nn.Linear with an 8-bit weight and inputs quantized on the way in, on the int8_gemm kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..ops.int8_gemm_op import pack, packed_gemm, unpack
from .conversion import check_attributes, check_stock
from .int8_module import KeepsInt8Weight, Range
from .int8_weights import QuantizedWeight, quantize_weight, quantized_weight_of
from .quantized_module import DTYPES, KeepsPackedLinear

if TYPE_CHECKING:
    from ..energy.counts import Counts


class Int8Linear(KeepsInt8Weight, KeepsPackedLinear, nn.Linear):
    """Stands in for ``nn.Linear`` in inference: a quarter of the bytes, and products of 8-bit integers.

    ``forward(input)`` computes ``activation(input @ weight^T + bias)`` as ``greenkernels.ops.int8_gemm`` does. The
    weight has one scale for each output feature, symmetric: ``weight[j] = weight_scale[j] * q[j]`` with ``q`` in
    [-127, 127]. The input is quantized while it is packed: dynamically, with a scale and a zero point for every row,
    or with one scale and zero point found beforehand (``input_range``). Float in, float out; between layers that follow
    each other 8-bit integers may go: with ``output_range`` the output is uint8, and a static input may be. A call that
    falls back, or is not fused, gives float.

    ``weight`` is a property that gives the float weight back, rounded as it was; ``bias`` is a float32 Parameter. The
    ``state_dict`` holds ``weight_int8``, ``weight_scale``, ``bias`` and, where the input is static, ``input_scale`` and
    ``input_zero_point``; a ``state_dict`` of ``nn.Linear`` is quantized as it is loaded. ``to(dtype)`` and ``half()``
    change nothing: the result has the dtype of the input.

    A call that the kernel does not cover (device, dtype, a gradient, no compiled kernel, GREENKERNELS_DISABLE=1) runs
    ``F.linear`` on ``weight``, is counted in ``fallbacks`` and logged once.

    Args:
        in_features, out_features, bias, device: As in ``nn.Linear``. The weight is 0 until it is loaded; use
            ``from_module``.
        input_range: ``(low, high)``, the ends of the input's values as calibration saw them; None for dynamic.
        output_range: The same of the output, behind the activation: asks for the output as uint8, rounded as a layer
            with that ``input_range`` rounds its input. None for a float output.
        activation: Applied last; a name of ``greenkernels.ops.int8_gemm`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01) or "prelu" (default 0.25): a float, or for "prelu" a
            tensor with 1 or ``out_features`` elements.
        strict: Whether to raise a RuntimeError instead of falling back.

    Attributes:
        fallbacks: Reason -> number of calls that ran ``F.linear`` for it.

    Source: Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", NeurIPS 2022.
    """

    stem = "int8_gemm_packed"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        *,
        input_range: Range = None,
        output_range: Range = None,
        activation: str | None = None,
        activation_param: Tensor | float | None = None,
        strict: bool = False,
    ) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would register the float weight
        self.in_features, self.out_features = in_features, out_features
        self._set_int8(
            bias,
            device,
            ranges=(input_range, output_range),
            activation=activation,
            activation_param=activation_param,
            strict=strict,
        )

    def _weight_shape(self) -> tuple[int, ...]:
        return self.out_features, self.in_features

    def _pack(self, values: Tensor) -> Tensor:
        return pack(values)

    def _unpack(self) -> Tensor:
        return unpack(self.packed, self.out_features, self.in_features)

    @classmethod
    def from_module(cls, stock: nn.Module, **options: Any) -> Int8Linear:
        """The module that computes what ``stock`` does, up to the rounding of weight and input.

        Args:
            stock: an ``nn.Linear`` of float16, bfloat16 or float32; one whose weight torchao quantized to int8, with
                one scale for each output feature; or a dynamic or static quantized Linear of ``torch.ao`` with a qint8
                weight, whose integers and scales are taken over as they are (of a static one the quantization of the
                output is not: the result is float).
            **options: the keyword-only arguments of the constructor.

        Raises:
            ValueError: ``stock`` is nothing of that, has hooks, or an attribute with a value the kernel lacks, such as
                a weight with zero points or with groups of scales; the message names it.
        """
        found = quantized_weight_of(stock)
        if found is None:
            check_stock(stock, nn.Linear)
            check_attributes(stock, {}, DTYPES)
            bias = None if stock.bias is None else stock.bias.detach()
            found = QuantizedWeight(*quantize_weight(stock.weight.detach()), bias)
        return cls.from_int8(*found, **options).train(stock.training)

    @classmethod
    def from_int8(
        cls, values: Tensor, scale: Tensor, bias: Tensor | None = None, **options: Any
    ) -> Int8Linear:
        """The module with a weight that is quantized already.

        Args:
            values: int8 ``[out_features, in_features]``.
            scale: ``[out_features]``, real value of one step of each row of ``values``.
            bias: ``[out_features]`` or None.
            **options: the keyword-only arguments of the constructor.
        """
        out_features, in_features = values.shape
        module = cls(in_features, out_features, bias is not None, values.device, **options)
        module._set_weight(values, scale, bias)
        return module

    def follow(self, norm: None = None, deferred: bool = False) -> Int8Linear:
        """As ``DirectConv2d.follow``, without a batch norm: ``deferred`` leaves the activation to calls that ask."""
        if norm is not None:
            raise ValueError(f"norm must be None, got {type(norm).__name__}")
        self.deferred = deferred
        return self

    def forward(self, input: Tensor, fused: bool | None = None) -> Tensor:
        """``activation(input @ weight^T + bias)``.

        Args:
            input: ``[..., in_features]``, any strides; uint8 for integers by the scale of a static input.
            fused: False for the product alone, in float; None for True, unless ``follow`` deferred it.

        Returns:
            ``[..., out_features]``: uint8 with ``output_range``, else the dtype of a float ``input`` or float32.
        """
        bare = fused is False or (fused is None and self.deferred)
        reason = self._fallback_reason(input)
        if reason is not None:
            return self._forward_stock(reason, self.input_values(input), bare)
        buffers = self._buffers  # attribute access through nn.Module costs 0.4 us each
        return packed_gemm(
            input,
            buffers["packed"],
            self.out_features,
            buffers["input_scale"],
            buffers["weight_scale"],
            buffers["input_zero_point"],
            self._parameters["bias"],
            *self._epilogue(bare),
        )

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of the kernel in a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.kernels.int8_gemm import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)
