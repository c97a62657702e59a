"""KeepsInt8Weight: what the modules with an 8-bit weight share, whatever kernel multiplies by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ..ops import _library
from ..ops import activation as activations
from ..ops.activation import check_activation
from .fallbacks import refuse_onnx
from .int8_weights import input_quantizer, quantize_weight

if TYPE_CHECKING:
    from typing_extensions import Self

DTYPES = (torch.float16, torch.bfloat16, torch.float32)  # of inputs, and of weights to quantize
_FORMAT = 1  # of the state_dict


class KeepsInt8Weight(nn.Module):
    """A module that keeps its weight in the non-persistent buffer ``packed``, as integers in a kernel's order.

    Comes before the stock class among the bases. The module names the op of its kernel, calls ``_set_int8`` in its
    constructor once its sizes are known, and defines ``_weight_shape``, ``_pack`` and ``_unpack``.
    """

    stem: ClassVar[str]  # the op on the packed weight
    packed: Tensor
    weight_scale: Tensor

    def _set_int8(
        self,
        bias: bool,
        device: Any,
        *,
        input_range: tuple[float, float] | None,
        activation: str | None,
        activation_param: Tensor | float | None,
        strict: bool,
    ) -> None:
        """Options, and buffers with a weight of zeros."""
        check_activation(activation, activation_param)
        self.activation, self.strict = activation, strict
        self.fallbacks: dict[str, int] = {}
        values = torch.zeros(self._weight_shape(), dtype=torch.int8, device=device)
        out = values.shape[0]
        self.register_buffer("packed", self._pack(values), persistent=False)
        self.register_buffer("weight_scale", torch.ones(out, device=device))
        zeros = torch.zeros(out, device=device) if bias else None
        self.register_parameter("bias", None if zeros is None else nn.Parameter(zeros, requires_grad=False))
        scale, zero_point = input_quantizer(input_range, device)
        self.register_buffer("input_scale", scale)
        self.register_buffer("input_zero_point", zero_point)
        self.register_buffer("activation_param", self._slopes(activation_param), persistent=False)

    def _weight_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _pack(self, values: Tensor) -> Tensor:
        raise NotImplementedError

    def _unpack(self) -> Tensor:
        raise NotImplementedError

    def _slopes(self, param: Tensor | float | None) -> Tensor | None:
        if self.activation not in activations.WITH_PARAM:
            if param is not None:
                raise ValueError(
                    f"activation_param must be None for activation={self.activation!r}, got {param!r}"
                )
            return None
        default = {"leaky_relu": 0.01, "prelu": 0.25}[self.activation]
        value = torch.as_tensor(default if param is None else param, dtype=torch.float32)
        return value.detach().to(self.packed.device).reshape(-1)

    @property
    def weight(self) -> Tensor:
        """The float32 weight of the stock module's shape, made anew on each access."""
        values = self.weight_int8
        return values.float() * self.weight_scale.reshape(len(values), *(1,) * (values.dim() - 1))

    @property
    def weight_int8(self) -> Tensor:
        """The quantized weight, made anew on each access."""
        return self._unpack()

    def _set_weight(self, values: Tensor, scale: Tensor, bias: Tensor | None = None) -> None:
        with torch.inference_mode(False), torch.no_grad():  # may be used outside of it too
            self.packed = self._pack(values.to(self.packed.device))
            self.weight_scale = scale.detach().to(self.packed.device, torch.float32).reshape(-1).clone()
        if bias is not None:
            self.bias.data.copy_(bias)

    def _with_activation(self, stock: nn.Module) -> nn.Module:
        """The stock module, in an ``nn.Sequential`` with the activation if there is one."""
        if self.activation is None:
            return stock.train(self.training)
        param = self.activation_param
        param = nn.Parameter(param.clone()) if self.activation == "prelu" else param
        return nn.Sequential(stock, activations.to_module(self.activation, param)).train(self.training)

    def _fallback_reason(self, input: Tensor) -> str | None:
        refuse_onnx()
        if _library.DISABLED:
            return "GREENKERNELS_DISABLE=1"
        if input.device.type != "cpu":
            return f"input.device={input.device.type}"
        if input.dtype not in DTYPES and not torch.is_autocast_enabled("cpu"):
            return f"input.dtype={input.dtype}"
        if torch.is_grad_enabled() and input.requires_grad:
            return "input.requires_grad=True"
        if torch.compiler.is_compiling() or _library.known_compiled(self.stem):
            return None
        return None if _library.compiled(self.stem, self.packed) else "no compiled kernel"

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Devices change; scales and bias stay float32, as the kernel has them."""
        before = {name: t for name, t in (*self._buffers.items(), *self._parameters.items()) if t is not None}
        kept = {name: t.detach() for name, t in before.items() if t.is_floating_point()}
        super()._apply(fn, recurse)
        for name, tensor in kept.items():
            now = getattr(self, name)
            if now.dtype != tensor.dtype:
                now.data = tensor.to(now.device)
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight_int8"] = self.weight_int8
        destination[prefix + "int8_format"] = torch.tensor(_FORMAT)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        state = {name: value for name, value in state_dict.items() if name.startswith(prefix)}
        version = int(state.pop(prefix + "int8_format", _FORMAT))
        if version != _FORMAT:
            error_msgs.append(
                f"{prefix}int8_format must be {_FORMAT}, got {version}: saved by another version"
            )
            return
        weight, values = state.pop(prefix + "weight", None), state.pop(prefix + "weight_int8", None)
        shape = self._weight_shape()
        if values is None and weight is not None and weight.shape == shape:
            values, state[prefix + "weight_scale"] = quantize_weight(weight)
        if values is None or values.shape != shape:
            got = "none" if values is None else list(values.shape)
            error_msgs.append(f"{prefix}weight_int8 must be {list(shape)}, or weight be there, got {got}")
            return
        self._take_input_quantizer(state, prefix)
        super()._load_from_state_dict(
            state, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        self._set_weight(values, self.weight_scale)

    def _take_input_quantizer(self, state: dict[str, Any], prefix: str) -> None:
        """Whether the input is static is part of the state."""
        for name, dtype in (("input_scale", torch.float32), ("input_zero_point", torch.int32)):
            there = prefix + name in state
            if not there and getattr(self, name) is not None:
                state[prefix + name] = getattr(self, name)  # that of a stock state_dict: keep ours
            elif there and getattr(self, name) is None:
                setattr(self, name, torch.zeros(1, dtype=dtype, device=self.packed.device))

    def extra_repr(self) -> str:
        """The stock text, and what is special here."""
        parts = [super().extra_repr(), f"input={'dynamic' if self.input_scale is None else 'static'}"]
        if self.activation is not None:
            parts.append(f"activation={self.activation}")
        parts.append(f"packed_bytes={self.packed.numel()}")
        return ", ".join(parts)
