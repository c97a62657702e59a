"""KeepsPackedWeight: what the modules with a quantized weight share, however many bits it has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import _library
from ..ops import activation as activations
from ..ops.activation import check_activation
from . import sharding
from .fallbacks import count_fallback, refuse_onnx

if TYPE_CHECKING:
    from typing_extensions import Self

DTYPES = (torch.float16, torch.bfloat16, torch.float32)  # of inputs, and of weights to quantize


def wrong_format(state: dict[str, Tensor], name: str, known: int) -> str | None:
    """Takes the version of a format out of a state; says so if it is another one."""
    version = int(state.pop(name, known))
    return None if version == known else f"{name} must be {known}, got {version}: saved by another version"


class KeepsPackedWeight(nn.Module):
    """A module that keeps its weight in the non-persistent buffer ``packed``, in a kernel's order, for inference alone.

    Comes before the stock class among the bases. The module names the op of its kernel and calls ``_set_packed`` in its
    constructor.
    """

    stem: ClassVar[str]  # the op on the packed weight
    packed: Tensor

    def _set_packed(
        self,
        packed: Tensor,
        biases: int | None,
        activation: str | None,
        activation_param: Tensor | float | None,
        strict: bool,
    ) -> None:
        """The packed weight, as many biases or none, and options."""
        check_activation(activation, activation_param)
        self.activation, self.strict = activation, strict
        self.fallbacks: dict[str, int] = {}
        self.register_buffer("packed", packed, persistent=False)
        zeros = None if biases is None else torch.zeros(biases, device=packed.device)
        self.register_parameter("bias", None if zeros is None else nn.Parameter(zeros, requires_grad=False))
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

    def _with_activation(self, stock: nn.Module) -> nn.Module:
        """The stock module, in an ``nn.Sequential`` with the activation if there is one."""
        if self.activation is None:
            return stock.train(self.training)
        param = self.activation_param
        param = nn.Parameter(param.clone()) if self.activation == "prelu" else param
        return nn.Sequential(stock, activations.to_module(self.activation, param)).train(self.training)

    def _fallback_reason(self, input: Tensor) -> str | None:
        refuse_onnx()
        sharding.refuse(self, "input", input)
        if _library.DISABLED:
            return "GREENKERNELS_DISABLE=1"
        if input.device.type != "cpu":
            return f"input.device={input.device.type}"
        if not self._takes(input.dtype) and not torch.is_autocast_enabled("cpu"):
            return f"input.dtype={input.dtype}"
        if torch.is_grad_enabled() and input.requires_grad:
            return "input.requires_grad=True"
        if torch.compiler.is_compiling() or _library.known_compiled(self.stem, input):
            return None
        return None if _library.compiled(self.stem, self.packed) else "no compiled kernel"

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Refuses what ColwiseParallel and RowwiseParallel would cut apart from the packed weight."""
        sharding.refuse(self, name, param)
        super().register_parameter(name, param)

    def _takes(self, dtype: torch.dtype) -> bool:
        return dtype in DTYPES

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

    def _described(self, *parts: str) -> str:
        """The stock text of ``extra_repr``, ``parts``, and what all these modules say."""
        own = [super().extra_repr(), *parts]
        if self.activation is not None:
            own.append(f"activation={self.activation}")
        own.append(f"packed_bytes={self.packed.nbytes}")
        return ", ".join(own)


class KeepsPackedLinear(KeepsPackedWeight):
    """The same for ``nn.Linear``; the module has the property ``weight``, float32 ``[out_features, in_features]``."""

    def to_module(self) -> nn.Module:
        """An ``nn.Linear`` on ``weight``, in an ``nn.Sequential`` with its activation; what was lost stays lost."""
        bias = None if self.bias is None else nn.Parameter(self.bias.detach().clone())
        linear = nn.Linear(self.in_features, self.out_features, bias is not None, device="meta")
        linear.weight, linear.bias = nn.Parameter(self.weight), bias
        return self._with_activation(linear)

    def _forward_stock(self, reason: str, input: Tensor, bare: bool = False) -> Tensor:
        count_fallback(self, reason, "F.linear")
        dtype = input.dtype if input.is_floating_point() else torch.float32
        bias = None if self.bias is None else self.bias.to(dtype)
        out = F.linear(input, self.weight.to(input.device, dtype), bias)
        if bare:
            return out
        rows = out.reshape(math.prod(out.shape[:-1]), self.out_features, 1, 1)  # features are the channels
        return activations.apply(self.activation, rows, self.activation_param).reshape(out.shape)
