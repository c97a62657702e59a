"""Convolutions with bias, skip and activation fused, as ops of torch: what all stems of that kind share.

The op of a stem takes ``(input, weight, bias, *kernel, activation, activation_param, skip, skip_scale)``, its packed
variant ``(input, packed, bias, *shape, *kernel, activation, ...)``, and the op that packs ``(weight, *pack)``. What
*kernel*, *shape* and *pack* are is up to the stem. Gradients: ``fused_conv2d_grad.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _library
from . import activation as activations
from .conv2d_checks import Shape, check_out, compute_dtype
from .maps import empty_like_format, with_format

EPILOGUE = "str? activation, Tensor? activation_param, Tensor? skip, float skip_scale"
EPILOGUE_ARGS = 4


class Geometry(NamedTuple):
    """The arguments of ``torch.nn.functional.conv2d`` behind the weight and the bias."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int


@dataclass(frozen=True)
class Stem:
    """What makes one stem.

    Attributes:
        name: of the op.
        shape, kernel, pack: schemas of these arguments; *pack* may be empty.
        geometry: ``geometry(weight, *kernel)``.
        check_conv: ``check_conv(op, input, weight, bias, *kernel, ...)``; returns the shape of the output.
        check_packed: the same for the packed variant.
        check_pack: ``check_pack(op, weight, *pack)``.
        pack_plain: ``pack_plain(weight, *pack)`` in plain torch.
        packed_size: ``packed_size(weight, *pack)``, elements of the packed weight.
        unpack: ``unpack(packed, input, *shape, *kernel)``, the weight again.
        backward: ``backward(grad, input, weight, bias_sizes, mask, *kernel)``, the gradients of input, weight and bias
            that ``mask`` asks for, by kernels of the stem where these pay; None for torch's own.
    """

    name: str
    shape: str
    kernel: str
    pack: str
    geometry: Callable[..., Geometry]
    check_conv: Callable[..., Shape]
    check_packed: Callable[..., Shape]
    check_pack: Callable[..., None]
    pack_plain: Callable[..., Tensor]
    packed_size: Callable[..., int]
    unpack: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor | None, ...]] | None = None


class FusedConv2d:
    """The ops of one stem, defined and registered; each attribute is bound once, since a lookup costs over 1 us."""

    def __init__(self, stem: Stem) -> None:
        self.stem = stem
        self._conv, self._packed, self._pack = stem.name, f"{stem.name}_packed", f"{stem.name}_pack"
        options = f"{stem.kernel}, {EPILOGUE}"
        for op, weight in (
            (self._conv, "Tensor weight, Tensor? bias"),
            (self._packed, f"Tensor packed, Tensor? bias, {stem.shape}"),
        ):
            _library.define(f"{op}(Tensor input, {weight}, {options}) -> Tensor")
            _library.define(f"{op}.out(Tensor input, {weight}, {options}, *, Tensor(a!) out) -> ()")
        pack = ", ".join(("Tensor weight", stem.pack)) if stem.pack else "Tensor weight"
        _library.define(f"{self._pack}({pack}) -> Tensor")
        ops = torch.ops.greenkernels
        self.conv, self.conv_out = getattr(ops, self._conv).default, getattr(ops, self._conv).out
        self.packed_conv, self.packed_conv_out = (
            getattr(ops, self._packed).default,
            getattr(ops, self._packed).out,
        )
        self.pack = getattr(ops, self._pack).default
        _library.register(self.conv, self.conv_plain, self._conv_fake)
        _library.register(self.packed_conv, self.packed_plain, self._packed_fake)
        _library.register(self.pack, self._pack_plain, self._pack_fake)
        _library.register(self.conv_out, self._conv_out_plain, self._conv_out_fake)
        _library.register(self.packed_conv_out, self._packed_out_plain, self._packed_out_fake)

    # Plain torch: what runs where no kernel is compiled, and on other devices.

    def _plain(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, options: Sequence[Any], shape: Shape
    ) -> Tensor:
        """The formula of the contract in the type a kernel computes in, then with the dtype and format it returns."""
        *kernel, activation, param, skip, skip_scale = options
        dtype = compute_dtype(x)
        if 0 in (*x.shape, *weight.shape):  # torch refuses some of these: the sum over no terms is 0
            out = torch.zeros(shape, dtype=dtype, device=x.device)
        else:
            geometry = self.stem.geometry(weight, *kernel)
            out = F.conv2d(x.to(dtype), weight.to(dtype).contiguous(), None, *geometry)
        if bias is not None:
            out = out + bias.to(dtype).view(1, -1, 1, 1)
        if skip is not None:
            out = out + skip.to(dtype) * skip_scale
        return with_format(activations.apply(activation, out, param), x)

    def conv_plain(self, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
        """The op in torch's own ops, every one of them differentiable in every mode."""
        shape = self.stem.check_conv(self._conv, x, weight, bias, *options)
        return self._plain(x, weight, bias, options, shape)

    def packed_plain(self, x: Tensor, packed: Tensor, bias: Tensor | None, *args: Any) -> Tensor:
        """The packed variant in torch's own ops."""
        shape = self.stem.check_packed(self._packed, x, packed, bias, *args)
        return self._plain(x, self.unpacked(x, packed, args), bias, self.options_of(args), shape)

    def unpacked(self, x: Tensor, packed: Tensor, args: Sequence[Any]) -> Tensor:
        """The weight of a call of the packed variant; ``args`` are those behind the bias."""
        return self.stem.unpack(packed, x, *args[:-EPILOGUE_ARGS])

    def options_of(self, args: Sequence[Any]) -> Sequence[Any]:
        """The arguments behind the bias of a call of the packed variant, without *shape*."""
        return args[self.stem.shape.count(",") + 1 :]

    def _pack_plain(self, weight: Tensor, *options: Any) -> Tensor:
        self.stem.check_pack(self._pack, weight, *options)
        return self.stem.pack_plain(weight, *options)

    def _conv_out_plain(self, x: Tensor, *args: Any, out: Tensor) -> None:
        result = self.conv_plain(x, *args)
        check_out(self._conv, x, out, result.shape)
        out.copy_(result)

    def _packed_out_plain(self, x: Tensor, *args: Any, out: Tensor) -> None:
        result = self.packed_plain(x, *args)
        check_out(self._packed, x, out, result.shape)
        out.copy_(result)

    # Fake kernels: shapes and strides only, for torch.compile and torch.export.

    def _conv_fake(self, x: Tensor, *args: Any) -> Tensor:
        return empty_like_format(x, self.stem.check_conv(self._conv, x, *args))

    def _packed_fake(self, x: Tensor, *args: Any) -> Tensor:
        return empty_like_format(x, self.stem.check_packed(self._packed, x, *args))

    def _pack_fake(self, weight: Tensor, *options: Any) -> Tensor:
        self.stem.check_pack(self._pack, weight, *options)
        size = self.stem.packed_size(weight, *options)
        return torch.empty(size, dtype=compute_dtype(weight), device=weight.device)

    def _conv_out_fake(self, x: Tensor, *args: Any, out: Tensor) -> None:
        check_out(self._conv, x, out, self.stem.check_conv(self._conv, x, *args))

    def _packed_out_fake(self, x: Tensor, *args: Any, out: Tensor) -> None:
        check_out(self._packed, x, out, self.stem.check_packed(self._packed, x, *args))
