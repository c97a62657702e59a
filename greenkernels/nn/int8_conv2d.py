"""Int8Conv2d: nn.Conv2d with an 8-bit filter and inputs quantized on the way in, on the int8_conv2d kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..ops import activation as activations
from ..ops.int8_conv2d_op import pack, packed_conv, unpack
from ..ops.int8_winograd_conv2d import int8_winograd_conv2d_pack
from ..ops.int8_winograd_conv2d_op import packed_conv as packed_tiles
from .conversion import check_attributes, check_stock, conv_arguments
from .fallbacks import count_fallback
from .folding import FoldedFrom, check_norm, folded_scale
from .int8_module import KeepsInt8Weight, Range
from .int8_weights import QuantizedWeight, quantize_weight, quantized_weight_of
from .padding import kernel_padding
from .quantized_module import DTYPES

if TYPE_CHECKING:
    from ..energy.counts import Counts


class Int8Conv2d(KeepsInt8Weight, nn.Conv2d):
    """Stands in for ``nn.Conv2d`` in inference: a quarter of the bytes, and products of 8-bit integers.

    ``forward(input, skip=None, skip_scale=1.0)`` computes ``activation(conv(input) + skip_scale * skip)`` as
    ``greenkernels.ops.int8_conv2d`` does, for any filter, stride, padding, dilation and groups. The filter has one
    scale for each output channel, symmetric: ``weight[j] = weight_scale[j] * q[j]`` with ``q`` in [-127, 127]. The
    input is quantized on the way in: dynamically, with a scale and a zero point for every image, or with one scale and
    zero point found beforehand (``input_range``). Float in, float out; between layers that
    follow each other 8-bit integers may go: with ``output_range`` the output is uint8, and a static input may be. A
    call that falls back, or is not fused, gives float. Fastest on channels_last.

    ``weight`` is a property that gives the float filter back, rounded as it was; ``bias`` is a float32 Parameter. The
    ``state_dict`` holds ``weight_int8``, ``weight_scale``, ``bias`` and, where the input is static, ``input_scale`` and
    ``input_zero_point``; a ``state_dict`` of ``nn.Conv2d`` is quantized as it is loaded. ``to(dtype)`` and ``half()``
    change nothing: the result has the dtype of the input.

    A call that the kernel does not cover (device, dtype, a gradient, no compiled kernel, GREENKERNELS_DISABLE=1) runs
    torch's own convolution on ``weight``, is counted in ``fallbacks`` and logged once.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device: As in
            ``nn.Conv2d``. The filter is 0 until it is loaded; use ``from_module``.
        input_range: ``(low, high)``, the ends of the input's values as calibration saw them; None for dynamic.
        output_range: The same of the output, behind the activation: asks for the output as uint8, rounded as a layer
            with that ``input_range`` rounds its input. None for a float output.
        activation: Applied last; a name of ``greenkernels.ops.int8_conv2d`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01) or "prelu" (default 0.25): a float, or for "prelu" a
            tensor with 1 or ``out_channels`` elements.
        strict: Whether to raise a RuntimeError instead of falling back.
        tile: 2 for Winograd's F(2x2, 3x3) on 8-bit taps (``greenkernels.ops.int8_winograd_conv2d_packed``): 16 products
            for 36 with about twice the rounding error, for 3x3 filters of stride 1 without dilation and groups. Every
            tap of every tile has its own scale, so there is no ``input_range``, and the output is float. None for the
            direct way.

    Attributes:
        fallbacks: Reason -> number of calls that ran torch's convolution for it.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018.
    """

    stem = "int8_conv2d_packed"
    # The batch norm of `follow` in a tuple, so that it is no submodule; what was folded, behind what it was made from.
    _norm: tuple[nn.Module, ...] = ()
    _fold: tuple[Any, ...] | None = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        *,
        input_range: Range = None,
        output_range: Range = None,
        activation: str | None = None,
        activation_param: Tensor | float | None = None,
        strict: bool = False,
        tile: int | None = None,
    ) -> None:
        geometry = (kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        stock = nn.Conv2d(in_channels, out_channels, *geometry, device="meta")
        nn.Module.__init__(self)  # nn.Conv2d's own would register the float filter
        for name in (*nn.Conv2d.__constants__, "transposed", "_reversed_padding_repeated_twice"):
            setattr(self, name, getattr(stock, name))
        self._set_int8(
            bias,
            device,
            ranges=(input_range, output_range),
            activation=activation,
            activation_param=activation_param,
            strict=strict,
        )
        self._set_tile(tile, input_range is not None or output_range is not None)

    def _set_tile(self, tile: int | None, has_range: bool) -> None:
        self.tile = tile
        if tile is None:
            return
        if tile != 2:
            raise ValueError(f"tile must be None or 2, got {tile!r}")
        if has_range:
            raise ValueError("input_range and output_range must be None with tile=2")
        needed = {"kernel_size": (3, 3), "stride": (1, 1), "dilation": (1, 1), "groups": 1}
        for name, value in needed.items():
            if getattr(self, name) != value:
                raise ValueError(f"{name} must be {value} for tile=2, got {name}={getattr(self, name)}")
        self.stem = "int8_winograd_conv2d_packed"
        taps, scale = int8_winograd_conv2d_pack(self.weight)
        self.register_buffer("taps", taps, persistent=False)
        self.register_buffer("tap_scale", scale, persistent=False)

    def _set_weight(self, values: Tensor, scale: Tensor, bias: Tensor | None = None) -> None:
        super()._set_weight(values, scale, bias)
        if self.tile is not None:
            with torch.inference_mode(False), torch.no_grad():
                self.taps, self.tap_scale = int8_winograd_conv2d_pack(self.weight)

    def _weight_shape(self) -> tuple[int, ...]:
        return self.out_channels, self.in_channels // self.groups, *self.kernel_size

    def _pack(self, values: Tensor) -> Tensor:
        return pack(values, self.groups)

    def _unpack(self) -> Tensor:
        return unpack(
            self.packed, self.out_channels, self.in_channels // self.groups, self.kernel_size, self.groups
        )

    @classmethod
    def from_module(cls, stock: nn.Module, **options: Any) -> Int8Conv2d:
        """The module that computes what ``stock`` does, up to the rounding of filter and input.

        Args:
            stock: an ``nn.Conv2d`` of float16, bfloat16 or float32; or a quantized Conv2d of ``torch.ao`` with a qint8
                filter, whose integers and scales are taken over as they are (the quantization of its output is not: the
                result is float).
            **options: the keyword-only arguments of the constructor.

        Raises:
            ValueError: ``stock`` is nothing of that, has hooks, or an attribute with a value the kernel lacks, such as
                a filter with zero points; the message names it.
        """
        found = quantized_weight_of(stock)
        if found is None:
            check_stock(stock, nn.Conv2d)
            check_attributes(stock, {"transposed": False}, DTYPES)
            bias = None if stock.bias is None else stock.bias.detach()
            found = QuantizedWeight(*quantize_weight(stock.weight.detach()), bias)
        names = ("stride", "padding", "dilation", "groups", "padding_mode")
        geometry = {name: getattr(stock, name) for name in names}
        return cls.from_int8(*found, **geometry, **options).train(stock.training)

    @classmethod
    def from_int8(
        cls, values: Tensor, scale: Tensor, bias: Tensor | None = None, *, groups: int = 1, **options: Any
    ) -> Int8Conv2d:
        """The module with a filter that is quantized already.

        Args:
            values: int8 ``[out_channels, in_channels / groups, kernel_h, kernel_w]``.
            scale: ``[out_channels]``, real value of one step of each channel of ``values``.
            bias: ``[out_channels]`` or None.
            groups: As in ``nn.Conv2d``.
            **options: the other arguments of the constructor.
        """
        out_channels, group_in, *kernel = values.shape
        sizes = (group_in * groups, out_channels, tuple(kernel))
        module = cls(*sizes, groups=groups, bias=bias is not None, device=values.device, **options)
        module._set_weight(values, scale, bias)
        return module

    def to_module(self) -> nn.Module:
        """An ``nn.Conv2d`` on ``weight``, in an ``nn.Sequential`` with its activation; what was lost stays lost."""
        conv = nn.Conv2d(**conv_arguments(self))
        conv.weight = nn.Parameter(self.weight)
        conv.bias = None if self.bias is None else nn.Parameter(self.bias.detach().clone())
        return self._with_activation(conv)

    def follow(self, norm: nn.Module | None = None, deferred: bool = False) -> Int8Conv2d:
        """As ``DirectConv2d.follow``: a batch norm is folded into the scales of the channels and into the bias."""
        if norm is not None:
            check_norm(norm, self.out_channels)
        self._norm, self.deferred = () if norm is None else (norm,), deferred
        return self

    def forward(
        self, input: Tensor, skip: Tensor | None = None, skip_scale: float = 1.0, fused: bool | None = None
    ) -> Tensor:
        """``activation(conv(input) + skip_scale * skip)``, with the batch norm of ``follow`` behind the convolution.

        Args:
            input: ``[batch, in_channels, h, w]`` or ``[in_channels, h, w]``, any strides; uint8 for integers by the
                scale of a static input.
            skip: Of the shape of the output.
            skip_scale: Factor of ``skip``.
            fused: False for the bare convolution, in float; None for True, unless ``follow`` deferred it.

        Returns:
            The map of ``nn.Conv2d``: uint8 in channels_last with ``output_range``, else in the memory format of
            ``input`` and the dtype of a float ``input``, or float32.
        """
        if input.dim() == 3:
            skip = None if skip is None else skip.unsqueeze(0)
            return self.forward(input.unsqueeze(0), skip, skip_scale, fused).squeeze(0)
        bare = fused is False or (fused is None and self.deferred)
        reason = self._fallback_reason(input)
        if reason is not None:
            count_fallback(self, reason, "torch's convolution")
            out = self._convolved(self.input_values(input))
            return out if bare else self._behind(out, skip, skip_scale)
        if self._norm and self._norm[0].training and not bare:
            return self._behind(self._run(input, True, None, 1.0), skip, skip_scale)
        return self._run(input, bare, None if bare else skip, skip_scale)

    def _run(self, input: Tensor, bare: bool, skip: Tensor | None, skip_scale: float) -> Tensor:
        if input.dtype is torch.uint8 and (type(self.padding) is str or self.padding_mode != "zeros"):
            input = self.input_values(input)  # may be padded here, where 0 is no zero point
        input, padding = kernel_padding(self, input)
        buffers = self._buffers  # attribute access through nn.Module costs 0.4 us each
        scale = buffers["weight_scale" if self.tile is None else "tap_scale"]
        bias = self._parameters["bias"]
        if self._norm and not bare:
            scale, bias = self._folded(scale, bias)
        activation, param, *output = self._epilogue(bare)
        if self.tile is not None:
            epilogue = (bias, padding, activation, param, skip, skip_scale)
            return packed_tiles(input, buffers["taps"], self.out_channels, scale, *epilogue)
        return packed_conv(
            input,
            buffers["packed"],
            self.out_channels,
            self.kernel_size,
            buffers["input_scale"],
            scale,
            buffers["input_zero_point"],
            bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            activation,
            param,
            skip,
            skip_scale,
            *output,
        )

    def _folded(self, scale: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scales ``[..., out_channels]`` and bias with the batch norm in them, made again when torch counts a write."""
        (norm,) = self._norm
        if torch.compiler.is_compiling():
            return folded_scale(scale, bias, norm)
        made = self._fold
        if made is None or not made[0].holds():
            name = "weight_scale" if self.tile is None else "tap_scale"
            places = [(self._buffers, name), (self._parameters, "bias")]
            made = self._fold = FoldedFrom.of(self._norm, places), folded_scale(scale, bias, norm)
        return made[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fold": None}

    def _convolved(self, input: Tensor) -> Tensor:
        """Torch's own convolution."""
        dtype = input.dtype if input.is_floating_point() else torch.float32
        bias = None if self.bias is None else self.bias.to(dtype)
        return self._conv_forward(input, self.weight.to(input.device, dtype), bias)

    def _behind(self, out: Tensor, skip: Tensor | None, skip_scale: float) -> Tensor:
        """What follows the convolution, as operations of their own; the result stays float."""
        if self._norm:
            out = self._norm[0](out)
        if skip is not None:
            out = out + skip_scale * skip
        return activations.apply(self.activation, out, self.activation_param)

    def extra_repr(self) -> str:
        """The stock text, and what is special here."""
        return super().extra_repr() + ("" if self.tile is None else f", tile={self.tile}")

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of the kernel in a call on an input, and a ``skip``, of these shapes; see `greenkernels.energy`."""
        from ..energy.kernels.int8_conv2d import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)
