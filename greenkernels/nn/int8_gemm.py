"""Int8Linear: nn.Linear with an 8-bit weight and inputs quantized on the way in, on the int8_gemm kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import _library
from ..ops import activation as activations
from ..ops.activation import check_activation
from ..ops.int8_gemm_op import pack, packed_gemm, unpack
from .conversion import check_attributes, check_stock
from .fallbacks import count_fallback
from .int8_weights import QuantizedWeight, input_quantizer, quantize_weight, quantized_weight_of

if TYPE_CHECKING:
    from ..energy.counts import Counts

_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_FORMAT = 1  # of the state_dict


class Int8Linear(nn.Linear):
    """Stands in for ``nn.Linear`` in inference: a quarter of the bytes, and products of 8-bit integers.

    ``forward(input)`` computes ``activation(input @ weight^T + bias)`` as ``greenkernels.ops.int8_gemm`` does. The
    weight has one scale for each output feature, symmetric: ``weight[j] = weight_scale[j] * q[j]`` with ``q`` in
    [-127, 127]. The input is quantized while it is packed: dynamically, with a scale and a zero point for every row,
    or with one scale and zero point found beforehand (``input_range``). Float in, float out.

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
        activation: Applied last; a name of ``greenkernels.ops.int8_gemm`` or None.
        activation_param: Slope of "leaky_relu" (default 0.01) or "prelu" (default 0.25): a float, or for "prelu" a
            tensor with 1 or ``out_features`` elements.
        strict: Whether to raise a RuntimeError instead of falling back.

    Attributes:
        fallbacks: Reason -> number of calls that ran ``F.linear`` for it.

    Source: Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", NeurIPS 2022.
    """

    packed: Tensor
    weight_scale: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        *,
        input_range: tuple[float, float] | None = None,
        activation: str | None = None,
        activation_param: Tensor | float | None = None,
        strict: bool = False,
    ) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would register the float weight
        check_activation(activation, activation_param)
        self.in_features, self.out_features = in_features, out_features
        self.activation, self.strict = activation, strict
        self.fallbacks: dict[str, int] = {}
        values = torch.zeros(out_features, in_features, dtype=torch.int8, device=device)
        self.register_buffer("packed", pack(values), persistent=False)
        self.register_buffer("weight_scale", torch.ones(out_features, device=device))
        zeros = torch.zeros(out_features, device=device) if bias else None
        self.register_parameter("bias", None if zeros is None else nn.Parameter(zeros, requires_grad=False))
        scale, zero_point = input_quantizer(input_range, device)
        self.register_buffer("input_scale", scale)
        self.register_buffer("input_zero_point", zero_point)
        self.register_buffer("activation_param", self._slopes(activation_param), persistent=False)

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
        """The float32 weight ``[out_features, in_features]``, made anew on each access."""
        return self.weight_int8.float() * self.weight_scale.unsqueeze(1)

    @property
    def weight_int8(self) -> Tensor:
        """The quantized weight ``[out_features, in_features]``, made anew on each access."""
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
            check_attributes(stock, {}, _DTYPES)
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
        module._set_weight(values, scale)
        if bias is not None:
            module.bias.data.copy_(bias)
        return module

    def to_module(self) -> nn.Linear:
        """An ``nn.Linear`` on ``weight``, in an ``nn.Sequential`` with its activation; what was lost stays lost."""
        bias = None if self.bias is None else nn.Parameter(self.bias.detach().clone())
        linear = nn.Linear(self.in_features, self.out_features, bias is not None, device="meta")
        linear.weight, linear.bias = nn.Parameter(self.weight), bias
        if self.activation is None:
            return linear.train(self.training)
        after = activations.to_module(self.activation, self._param_of_module())
        return nn.Sequential(linear, after).train(self.training)

    def _param_of_module(self) -> Tensor | None:
        return (
            nn.Parameter(self.activation_param.clone())
            if self.activation == "prelu"
            else self.activation_param
        )

    def _set_weight(self, values: Tensor, scale: Tensor) -> None:
        with torch.inference_mode(False), torch.no_grad():  # may be used outside of it too
            self.packed = pack(values.to(self.packed.device))
            self.weight_scale = scale.detach().to(self.packed.device, torch.float32).reshape(-1).clone()

    def forward(self, input: Tensor) -> Tensor:
        """``activation(input @ weight^T + bias)``.

        Args:
            input: ``[..., in_features]``, any strides.

        Returns:
            ``[..., out_features]`` in the dtype of ``input``.
        """
        reason = self._fallback_reason(input)
        if reason is not None:
            return self._forward_stock(reason, input)
        buffers = self._buffers  # attribute access through nn.Module costs 0.4 us each
        return packed_gemm(
            input,
            buffers["packed"],
            self.out_features,
            buffers["input_scale"],
            buffers["weight_scale"],
            buffers["input_zero_point"],
            self._parameters["bias"],
            self.activation,
            buffers["activation_param"],
            None,
            0,
        )

    def _fallback_reason(self, input: Tensor) -> str | None:
        if _library.DISABLED:
            return "GREENKERNELS_DISABLE=1"
        if input.device.type != "cpu":
            return f"input.device={input.device.type}"
        if input.dtype not in _DTYPES and not torch.is_autocast_enabled("cpu"):
            return f"input.dtype={input.dtype}"
        if torch.is_grad_enabled() and input.requires_grad:
            return "input.requires_grad=True"
        if torch.compiler.is_compiling() or _library.known_compiled("int8_gemm_packed"):
            return None
        return None if _library.compiled("int8_gemm_packed", self.packed) else "no compiled kernel"

    def _forward_stock(self, reason: str, input: Tensor) -> Tensor:
        count_fallback(self, reason, "F.linear")
        dtype = input.dtype if input.is_floating_point() else torch.float32
        bias = None if self.bias is None else self.bias.to(dtype)
        out = F.linear(input, self.weight.to(input.device, dtype), bias)
        rows = out.reshape(math.prod(out.shape[:-1]), self.out_features, 1, 1)  # features are the channels
        return activations.apply(self.activation, rows, self.activation_param).reshape(out.shape)

    def _apply(self, fn: Any, recurse: bool = True) -> Int8Linear:
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
        if values is None and weight is not None and weight.shape == (self.out_features, self.in_features):
            values, state[prefix + "weight_scale"] = quantize_weight(weight)
        if values is None or values.shape != (self.out_features, self.in_features):
            got = "none" if values is None else list(values.shape)
            error_msgs.append(
                f"{prefix}weight_int8 must be [{self.out_features}, {self.in_features}], or weight be there, got {got}"
            )
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

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of the kernel in a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.kernels.int8_gemm import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)

    def extra_repr(self) -> str:
        """The stock text, and what is special here."""
        parts = [super().extra_repr(), f"input={'dynamic' if self.input_scale is None else 'static'}"]
        if self.activation is not None:
            parts.append(f"activation={self.activation}")
        parts.append(f"packed_bytes={self.packed.numel()}")
        return ", ".join(parts)
