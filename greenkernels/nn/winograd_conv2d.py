"""WinogradConv2d: nn.Conv2d for 3x3 filters with stride 1, on the winograd_conv2d kernels."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import _library
from ..ops import activation as activations
from ..ops.conv2d_checks import FLOATS
from ..ops.winograd_conv2d import check_options
from ..ops.winograd_conv2d_op import conv, pack, packed_conv
from .conversion import check_attributes, check_stock, conv_arguments
from .packing import KeepsPackedWeight

if TYPE_CHECKING:
    from ..energy.counts import Counts

_log = logging.getLogger("greenkernels")

# What the kernel asks of a convolution's attributes.
_NEEDED = {"kernel_size": (3, 3), "stride": (1, 1), "dilation": (1, 1), "groups": 1, "transposed": False}
_ONE = (1, 1)


class WinogradConv2d(KeepsPackedWeight, nn.Conv2d):
    """Drop-in for ``nn.Conv2d`` with 3x3 filters, stride 1, dilation 1, groups 1.

    ``forward(input, skip=None, skip_scale=1.0)`` computes ``activation(conv(input) + skip_scale * skip)``
    as ``greenkernels.ops.winograd_conv2d`` does.

    The transformed weight is kept in the non-persistent buffer ``packed``. Eager calls pack again when the
    weight's storage, shape or version changed; ``load_state_dict``, ``to`` and the like, ``train()``,
    ``eval()`` and unpickling always do. Writes through ``weight.data`` cannot be seen: call ``repack()``
    after them. Calls that need the gradient of the weight pack on the fly. Under ``torch.compile`` and
    ``torch.export`` in eval mode the graph reads ``packed`` as it is: after writing to the weight call
    ``repack()``.

    A call that the kernel does not cover (device, dtype, layout, no compiled kernel, GREENKERNELS_DISABLE=1)
    runs torch's own convolution on the same weight, is counted in ``fallbacks`` and logged once.

    A NaN or infinity in the input spreads over the output tiles that read it; ``check_finite`` refuses such
    input.

    Args:
        tile: Width of an output tile: 2, 4 or 6; larger is faster and less exact (errors about 2x, 5x, 17x).
        activation: Applied last; a name of ``greenkernels.ops.winograd_conv2d`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01, a constant) or "prelu" (default 0.25, a float
            or a tensor with 1 or ``out_channels`` elements, learned: the only addition to the keys of the
            stock ``state_dict``).
        strict: Whether to raise a RuntimeError instead of falling back.
        check_finite: Whether to raise a RuntimeError for input with NaN or infinity; reads the input once
            more.

    The other arguments are those of ``nn.Conv2d``; values that the kernel does not have raise a ValueError.

    Attributes:
        fallbacks: Reason -> number of calls that ran torch's convolution for it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        tile: int = 4,
        activation: str | None = None,
        activation_param: Tensor | float | None = None,
        strict: bool = False,
        check_finite: bool = False,
    ) -> None:
        check_options(tile, activation, activation_param)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        check_attributes(self, _NEEDED, FLOATS)
        self.tile, self.activation, self.strict, self.check_finite = tile, activation, strict, check_finite
        self.fallbacks: dict[str, int] = {}
        self._register_activation_param(activation_param)

    def _register_activation_param(self, param: Tensor | float | None) -> None:
        if self.activation == "prelu":
            if not isinstance(param, nn.Parameter):
                value = torch.as_tensor(0.25 if param is None else param).to(self.weight)
                param = nn.Parameter(value.detach().reshape(-1))
            self.register_parameter("activation_param", param)
        elif self.activation == "leaky_relu":
            slope = self.weight.detach().new_tensor([0.01 if param is None else float(param)])
            self.register_buffer("activation_param", slope, persistent=False)
        elif param is not None:
            raise ValueError(
                f"activation_param must be None for activation={self.activation!r}, got {param!r}"
            )
        else:
            self.register_parameter("activation_param", None)

    @classmethod
    def from_module(cls, stock: nn.Conv2d, **options: Any) -> "WinogradConv2d":
        """The module that computes what ``stock`` does, on the same Parameters.

        Args:
            stock: The module to replace.
            **options: ``tile``, ``activation``, ``activation_param``, ``strict``, ``check_finite``.

        Raises:
            ValueError: ``stock`` is not exactly an ``nn.Conv2d``, has hooks, or an attribute with a value the
                kernel lacks; the message names it.
        """
        check_stock(stock, nn.Conv2d)
        param = options.pop("activation_param", None)
        module = cls(**conv_arguments(stock), **options)
        module.weight, module.bias = stock.weight, stock.bias
        module._register_activation_param(param)  # of the dtype and device of the weight
        return module.train(stock.training)

    def to_module(self) -> nn.Module:
        """The stock module on the same Parameters: an ``nn.Conv2d``, in an ``nn.Sequential`` with its activation."""
        conv = nn.Conv2d(**conv_arguments(self))
        conv.weight, conv.bias = self.weight, self.bias
        if self.activation is None:
            return conv.train(self.training)
        return nn.Sequential(conv, activations.to_module(self.activation, self.activation_param)).train(
            self.training
        )

    def forward(self, input: Tensor, skip: Tensor | None = None, skip_scale: float = 1.0) -> Tensor:
        """``activation(conv(input) + skip_scale * skip)``.

        Args:
            input: ``[batch, in_channels, h, w]`` or ``[in_channels, h, w]``, any strides.
            skip: Of the shape of the output, or None.
            skip_scale: Factor of ``skip``.

        Returns:
            The map of ``nn.Conv2d``, in the memory format of ``input``.
        """
        # Attribute access through nn.Module costs 0.4 us each, so read the dicts.
        weight = self._parameters.get("weight")
        if not torch.compiler.is_compiling() and self._is_plain_call(input, weight):
            bias = self._parameters["bias"]
            param = self.activation_param if self.activation in activations.WITH_PARAM else None
            if weight.requires_grad and torch.is_grad_enabled():
                return conv(
                    input, weight, bias, self.padding, self.tile, self.activation, param, skip, skip_scale
                )
            if self._packed_from is not None and self._packed_from.is_state_of(weight):
                options = (self.padding, self.tile, self.activation, param, skip, skip_scale)
                return packed_conv(input, self._buffers["packed"], bias, self.out_channels, *options)
        if input.dim() == 3:
            skip = None if skip is None else skip.unsqueeze(0)
            return self._forward_checked(input.unsqueeze(0), skip, skip_scale).squeeze(0)
        return self._forward_checked(input, skip, skip_scale)

    def _is_plain_call(self, input: Tensor, weight: Tensor | None) -> bool:
        """Whether a call needs none of the care of ``_forward_checked``, which finds the same answer more slowly."""
        return (
            _library.known_compiled("winograd_conv2d")
            and type(input) is Tensor
            and type(weight) is nn.Parameter
            and input.is_cpu
            and weight.is_cpu
            and input.dtype in FLOATS
            and input.dtype is weight.dtype
            and input.dim() == 4
            and input.size(1) == self.in_channels
            and type(self.padding) is tuple
            and self.padding_mode == "zeros"
            and self.stride == _ONE
            and self.dilation == _ONE
            and self.groups == 1
            and not self.check_finite
        )

    def _forward_checked(self, input: Tensor, skip: Tensor | None, skip_scale: float) -> Tensor:
        """Every case: chooses between the packed weight, the plain weight and torch's own convolution."""
        if self.check_finite:
            _check_finite(input)
        weight = self.weight
        reason = self._fallback_reason(input, weight)
        if reason is not None:
            return self._forward_stock(reason, input, skip, skip_scale)
        padding = self._zero_padding()
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
        packed = self._packed_for(input, weight)
        options = (padding, self.tile, self.activation, self.activation_param, skip, skip_scale)
        if packed is None:
            return conv(input, weight, self.bias, *options)
        return packed_conv(input, packed, self.bias, self.out_channels, *options)

    def _zero_padding(self) -> tuple[int, int]:
        if self.padding_mode != "zeros" or self.padding == "valid":
            return (0, 0)
        return _ONE if self.padding == "same" else self.padding

    def _packed_for(self, input: Tensor, weight: Tensor) -> Tensor | None:
        """The packed weight if this call may use it, else None."""
        if torch.is_grad_enabled() and weight.requires_grad and not torch.compiler.is_exporting():
            return None
        if input.dim() != 4 or input.shape[1] != weight.shape[1]:
            return None  # the check of the plain op has the better words
        if input.dtype != weight.dtype and not torch.is_autocast_enabled("cpu"):
            return None
        if torch.compiler.is_compiling():
            return None if self.training else self.packed
        return self.fresh_packed(weight)

    def _fallback_reason(self, input: Tensor, weight: Tensor) -> str | None:
        if _library.DISABLED:
            return "GREENKERNELS_DISABLE=1"
        for name, needed in _NEEDED.items():
            if getattr(self, name) != needed:
                return f"{name}={getattr(self, name)}"
        for name, tensor in (("input", input), ("weight", weight)):
            if tensor.device.type != "cpu":
                return f"{name}.device={tensor.device.type}"
            if tensor.dtype not in FLOATS:
                return f"{name}.dtype={tensor.dtype}"
            if tensor.layout is not torch.strided:
                return f"{name}.layout={tensor.layout}"
        if torch.compiler.is_compiling():
            return None
        if type(input) not in (Tensor, nn.Parameter):
            return f"input.type={type(input).__name__}"
        return None if _library.compiled("winograd_conv2d", weight) else "no compiled kernel"

    def _forward_stock(self, reason: str, input: Tensor, skip: Tensor | None, skip_scale: float) -> Tensor:
        if self.strict:
            raise RuntimeError(
                f"WinogradConv2d: strict=True forbids the fallback to torch's convolution, needed for {reason}"
            )
        if not torch.compiler.is_compiling():
            if reason not in self.fallbacks:
                _log.warning("WinogradConv2d(%s) runs torch's convolution: %s", self.extra_repr(), reason)
            self.fallbacks[reason] = self.fallbacks.get(reason, 0) + 1
        out = self._conv_forward(input, self.weight, self.bias)
        if skip is not None:
            out = out + skip_scale * skip
        return activations.apply(self.activation, out, self.activation_param)

    def _pack(self, weight: Tensor) -> Tensor | None:
        if _library.DISABLED or weight.device.type != "cpu" or weight.dtype not in FLOATS:
            return None
        return pack(weight, self.tile) if _library.compiled("winograd_conv2d_pack", weight) else None

    def counts(self, *input_shapes: Sequence[int]) -> "Counts":
        """Work of the kernel in a call on an input, and a ``skip``, of these shapes; see `greenkernels.energy`."""
        from ..energy.kernels.winograd_conv2d import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)

    def extra_repr(self) -> str:
        packed = self._buffers.get("packed")
        parts = [super().extra_repr(), f"tile={self.tile}"]
        if self.activation is not None:
            parts.append(f"activation={self.activation}")
        parts.append(f"packed_bytes={0 if packed is None else packed.numel() * packed.element_size()}")
        return ", ".join(parts)


def _check_finite(input: Tensor) -> None:
    finite = torch.isfinite(input).all()
    message = "winograd_conv2d: input must be finite, got NaN or infinity (check_finite=True)"
    if torch.compiler.is_compiling():
        torch.ops.aten._assert_async.msg(finite, message)
    elif not finite:
        raise RuntimeError(message)
