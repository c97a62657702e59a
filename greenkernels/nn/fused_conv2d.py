"""FusedConv2d: what the stand-ins for nn.Conv2d share, whatever kernel they run on."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..ops import _library
from ..ops import activation as activations
from ..ops.conv2d_checks import FLOATS
from .conversion import check_attributes, check_stock, conv_arguments
from .fallbacks import converted_on_cuda, count_fallback, why_stock
from .folding import FoldedFrom, check_norm, folded
from .packing import KeepsPackedWeight
from .padding import kernel_padding


class FusedConv2d(KeepsPackedWeight, nn.Conv2d):
    """An ``nn.Conv2d`` that computes ``activation(conv(input) + skip_scale * skip)`` on the kernels of one stem.

    A subclass names the stem and what it asks of attributes, checks what else it asks in ``_set_options``, and
    defines ``_run``, ``_run_packed`` and ``_pack``.
    """

    stem: ClassVar[str]  # of the kernel
    needed: ClassVar[dict[str, Any]]  # attributes that must have these values
    # What `follow` sets: the batch norm in a tuple, so that it is no submodule; what was folded.
    _norm: tuple[nn.Module, ...] = ()
    _folded_from: FoldedFrom | None = None
    deferred = False

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
        dtype: torch.dtype | None = None,
        *,
        activation: str | None = None,
        activation_param: Tensor | float | None = None,
        strict: bool = False,
    ) -> None:
        activations.check_activation(activation, activation_param)
        geometry = (kernel_size, stride, padding, dilation, groups)
        super().__init__(in_channels, out_channels, *geometry, bias, padding_mode, device, dtype)
        self._set_options(activation, activation_param, strict)

    def _set_options(self, activation: str | None, param: Tensor | float | None, strict: bool) -> None:
        check_attributes(self, self.needed, FLOATS)
        self.activation, self.strict = activation, strict
        self.fallbacks: dict[str, int] = {}
        self.register_buffer("folded_bias", None, persistent=False)
        self._register_activation_param(param)

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

    def _run(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        """The op; ``epilogue`` is ``activation, activation_param, skip, skip_scale``."""
        raise NotImplementedError

    def _run_packed(
        self, input: Tensor, packed: Tensor, bias: Tensor | None, padding: Any, *epilogue: Any
    ) -> Tensor:
        """The packed variant of the op."""
        raise NotImplementedError

    @classmethod
    def from_module(cls, stock: nn.Conv2d, **options: Any) -> "FusedConv2d":
        """The module that computes what ``stock`` does, on the same Parameters.

        Args:
            stock: The module to replace.
            **options: The keyword-only arguments of the constructor.

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

    def follow(self, norm: nn.Module | None = None, deferred: bool = False) -> "FusedConv2d":
        """Computes ``activation(norm(conv(input)) + skip_scale * skip)`` from now on.

        Args:
            norm: The ``nn.BatchNorm2d`` behind the convolution, or None. It stays a module of its owner, with its
                entries in the ``state_dict``: here it is folded into the packed weight, again whenever torch counts a
                write to it or to the bias; while it is in training mode it runs as it is.
            deferred: Whether ``forward`` computes the bare convolution unless called with ``fused=True``.

        Returns:
            This module.

        Raises:
            ValueError: ``norm`` is another module, or does not fit.
        """
        if norm is not None:
            check_norm(norm, self.out_channels)
        self._norm, self.deferred = () if norm is None else (norm,), deferred
        self._weight_replaced()
        return self

    def forward(
        self, input: Tensor, skip: Tensor | None = None, skip_scale: float = 1.0, fused: bool | None = None
    ) -> Tensor:
        """``activation(conv(input) + skip_scale * skip)``, with the batch norm of ``follow`` behind the convolution.

        Args:
            input: ``[batch, in_channels, h, w]`` or ``[in_channels, h, w]``, any strides.
            skip: Of the shape of the output, or None.
            skip_scale: Factor of ``skip``.
            fused: False for the bare convolution; None for True, unless ``follow`` deferred it.

        Returns:
            The map of ``nn.Conv2d``, in the memory format of ``input``.
        """
        if fused is False or (fused is None and self.deferred):
            return self._forward_bare(input)
        # Attribute access through nn.Module costs 0.4 us each, so read the dicts.
        weight = self._parameters.get("weight")
        if not torch.compiler.is_compiling() and self._is_plain_call(input, weight):
            bias = self._buffers["folded_bias"] if self._norm else self._parameters["bias"]
            param = self.activation_param if self.activation in activations.WITH_PARAM else None
            epilogue = (self.activation, param, skip, skip_scale)
            trained = weight.requires_grad and torch.is_grad_enabled()
            if trained and not self._norm:
                return self._run(input, weight, bias, self.padding, *epilogue)
            if not trained and self._is_fresh(weight):
                return self._run_packed(input, self._buffers["packed"], bias, self.padding, *epilogue)
        if input.dim() == 3:
            skip = None if skip is None else skip.unsqueeze(0)
            return self._forward_checked(input.unsqueeze(0), skip, skip_scale).squeeze(0)
        return self._forward_checked(input, skip, skip_scale)

    def _forward_bare(self, input: Tensor) -> Tensor:
        """The convolution alone: on the kernel where it is trained, else torch's, which needs no packed weight."""
        weight = self.weight
        trained = weight.requires_grad and torch.is_grad_enabled()
        if not trained or input.dim() != 4 or self._fallback_reason(input, weight) is not None:
            return self._conv_forward(input, weight, self.bias)
        input, padding = kernel_padding(self, input)
        return self._run(input, weight, self.bias, padding, None, None, None, 1.0)

    def _is_fresh(self, weight: Tensor) -> bool:
        fresh = self._packed_from is not None and self._packed_from.is_state_of(weight)
        if not fresh or not self._norm:
            return fresh
        return self._folded_from is not None and self._folded_from.holds()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_folded_from": None}

    def _weight_to_pack(self, weight: Tensor) -> Tensor:
        self.folded_bias = None
        if not self._norm:
            return weight
        weight, self.folded_bias = folded(weight, self.bias, self._norm[0])
        self._folded_from = FoldedFrom.of(self._norm, [(self._parameters, "bias")])
        return weight

    def _is_plain_call(self, input: Tensor, weight: Tensor | None) -> bool:
        """Whether a call needs none of the care of ``_forward_checked``, which finds the same answer more slowly."""
        return (
            type(input) is Tensor
            and type(weight) is nn.Parameter
            and ((input.is_cpu and weight.is_cpu) or (input.is_cuda and weight.is_cuda))
            and _library.known_compiled(self.stem, input)
            and not converted_on_cuda(input)
            and input.dtype in FLOATS
            and input.dtype is weight.dtype
            and input.dim() == 4
            and input.size(1) == self.in_channels
            and type(self.padding) is tuple
            and self.padding_mode == "zeros"
        )

    def _forward_checked(self, input: Tensor, skip: Tensor | None, skip_scale: float) -> Tensor:
        """Every case: chooses between the packed weight, the plain weight and torch's own convolution."""
        weight = self.weight
        reason = self._fallback_reason(input, weight)
        if reason is not None:
            return self._forward_stock(reason, input, skip, skip_scale)
        if self._norm and self._norm[0].training:
            return self._behind(self._forward_bare(input), skip, skip_scale)
        input, padding = kernel_padding(self, input)
        packed, bias = self._packed_for(input, weight), self.bias
        epilogue = (self.activation, self.activation_param, skip, skip_scale)
        if packed is not None:
            bias = self.folded_bias if self._norm else bias
            return self._run_packed(input, packed, bias, padding, *epilogue)
        if self._norm:
            weight, bias = folded(weight, bias, self._norm[0])
        return self._run(input, weight, bias, padding, *epilogue)

    def _packed_for(self, input: Tensor, weight: Tensor) -> Tensor | None:
        """The packed weight if this call may use it, else None."""
        if torch.is_grad_enabled() and weight.requires_grad and not torch.compiler.is_exporting():
            return None
        if input.dim() != 4 or input.shape[1] != self.groups * weight.shape[1]:
            return None  # the check of the plain op has the better words
        if input.dtype != weight.dtype and not torch.is_autocast_enabled(input.device.type):
            return None
        if torch.compiler.is_compiling():
            return None if self.training else self.packed
        return self.fresh_packed(weight)

    def _fallback_reason(self, input: Tensor, weight: Tensor) -> str | None:
        if not _library.DISABLED:
            for name, needed in self.needed.items():
                if getattr(self, name) != needed:
                    return f"{name}={getattr(self, name)}"
        return why_stock(self.stem, input, weight)

    def _forward_stock(self, reason: str, input: Tensor, skip: Tensor | None, skip_scale: float) -> Tensor:
        count_fallback(self, reason, "torch's convolution")
        return self._behind(self._conv_forward(input, self.weight, self.bias), skip, skip_scale)

    def _behind(self, out: Tensor, skip: Tensor | None, skip_scale: float) -> Tensor:
        """What follows the convolution, as operations of their own."""
        if self._norm:
            out = self._norm[0](out)
        if skip is not None:
            cast = torch.is_autocast_enabled(out.device.type)  # the op casts all tensors alike
            out = out + skip_scale * (skip.to(out.dtype) if cast else skip)
        return activations.apply(self.activation, out, self.activation_param)

    def _can_pack(self, weight: Tensor) -> bool:
        if _library.DISABLED or weight.dtype not in FLOATS:
            return False
        return _library.compiled(f"{self.stem}_pack", weight)

    def _repr_of_options(self) -> list[str]:
        """What ``repr`` says of the subclass's own options."""
        return []

    def extra_repr(self) -> str:
        packed = self._buffers.get("packed")
        parts = [super().extra_repr(), *self._repr_of_options()]
        if self._norm:
            parts.append("norm=folded")
        if self.activation is not None:
            parts.append(f"activation={self.activation}")
        parts.append(f"packed_bytes={0 if packed is None else packed.numel() * packed.element_size()}")
        return ", ".join(parts)
