"""KeepsInt8Weight: what the modules with an 8-bit weight share, whatever kernel multiplies by it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .int4_weights import from_nibbles
from .int8_weights import quantize_weight, range_quantizer
from .quantized_module import KeepsPackedWeight, wrong_format

_FORMAT = 1  # of the state_dict

Range = tuple[float, float] | None  # the ends of values, as calibration saw them


class KeepsInt8Weight(KeepsPackedWeight):
    """A module that keeps its weight in the non-persistent buffer ``packed``, as integers in a kernel's order.

    Comes before the stock class among the bases. The module names the op of its kernel, calls ``_set_int8`` in its
    constructor once its sizes are known, and defines ``_weight_shape``, ``_pack`` and ``_unpack``.
    """

    weight_scale: Tensor
    deferred = False  # set by ``follow``
    # How an 8-bit output is rounded; numbers, since the kernel takes numbers. None: the output is float.
    out_scale: float | None = None
    out_zero_point = 0

    def _set_int8(
        self,
        bias: bool,
        device: Any,
        *,
        ranges: tuple[Range, Range],
        activation: str | None,
        activation_param: Tensor | float | None,
        strict: bool,
    ) -> None:
        """Options, the ranges of input and output, and buffers with a weight of zeros."""
        values = torch.zeros(self._weight_shape(), dtype=torch.int8, device=device)
        out = values.shape[0]
        self._set_packed(self._pack(values), out if bias else None, activation, activation_param, strict)
        self.register_buffer("weight_scale", torch.ones(out, device=device))
        scale, zero_point = range_quantizer("input_range", ranges[0], device)
        self.register_buffer("input_scale", scale)
        self.register_buffer("input_zero_point", zero_point)
        self._set_output(*range_quantizer("output_range", ranges[1], "cpu"))

    def _set_output(self, scale: Tensor | None, zero_point: Tensor | None) -> None:
        if scale is not None and zero_point is not None:
            self.out_scale, self.out_zero_point = float(scale), int(zero_point)

    def _takes(self, dtype: torch.dtype) -> bool:
        return super()._takes(dtype) or (dtype is torch.uint8 and self._buffers["input_scale"] is not None)

    def _epilogue(self, bare: bool) -> tuple[Any, ...]:
        """Activation, its parameter, and how the output is rounded."""
        if bare:
            return None, None, None, 0
        return self.activation, self._buffers["activation_param"], self.out_scale, self.out_zero_point

    def input_values(self, input: Tensor) -> Tensor:
        """The float32 values that an 8-bit input stands for; any other input as it is."""
        if input.dtype is not torch.uint8 or self.input_scale is None:
            return input
        return (input.float() - self.input_zero_point) * self.input_scale

    def output_values(self, output: Tensor) -> Tensor:
        """The float32 values that an 8-bit output stands for; any other output as it is."""
        if output.dtype is not torch.uint8 or self.out_scale is None:
            return output
        return (output.float() - self.out_zero_point) * self.out_scale

    def _weight_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _pack(self, values: Tensor) -> Tensor:
        raise NotImplementedError

    def _unpack(self) -> Tensor:
        raise NotImplementedError

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

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight_int8"] = self.weight_int8
        destination[prefix + "int8_format"] = torch.tensor(_FORMAT)
        if self.out_scale is not None:
            destination[prefix + "output_scale"] = torch.tensor([self.out_scale])
            destination[prefix + "output_zero_point"] = torch.tensor([self.out_zero_point])

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
        another = wrong_format(state, prefix + "int8_format", _FORMAT)
        if another is not None:
            error_msgs.append(another)
            return
        weight, values = state.pop(prefix + "weight", None), state.pop(prefix + "weight_int8", None)
        nibbles = state.pop(prefix + "weight_int4", None)  # of `greenkernels.save`
        shape = self._weight_shape()
        depth = math.prod(shape[1:])
        if values is None and nibbles is not None and nibbles.shape == (shape[0], (depth + 1) // 2):
            values = from_nibbles(nibbles, depth).reshape(shape)
        if values is None and weight is not None and weight.shape == shape:
            values, state[prefix + "weight_scale"] = quantize_weight(weight)
        if values is None or values.shape != shape:
            got = "none" if values is None else list(values.shape)
            error_msgs.append(f"{prefix}weight_int8 must be {list(shape)}, or weight be there, got {got}")
            return
        self._take_input_quantizer(state, prefix)
        self._set_output(*(state.pop(f"{prefix}output_{part}", None) for part in ("scale", "zero_point")))
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
        parts = [f"input={'dynamic' if self.input_scale is None else 'static'}"]
        return self._described(*parts, *(["output=uint8"] if self.out_scale is not None else []))
