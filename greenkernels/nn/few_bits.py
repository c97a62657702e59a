"""FewBitLinear: what the linear layers share that take floats and keep their weight in fewer bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from .quantized_module import KeepsPackedLinear

if TYPE_CHECKING:
    from typing_extensions import Self


class FewBitLinear(KeepsPackedLinear, nn.Linear):
    """An ``nn.Linear`` for inference on an op ``(input, packed, out_features, *sizes, bias, activation, param)``.

    The module names the op and defines ``_sizes``, ``_pack``, ``_parts`` and ``_take_weight``.
    """

    op: ClassVar[torch._ops.OpOverload]  # on the packed weight, that of ``stem``

    def _sizes(self) -> tuple[int, ...]:
        """What the op has to know of the weight beside ``out_features``."""
        raise NotImplementedError

    def _pack(self, *parts: Tensor) -> Tensor:
        """The parts of a weight, the first ``[out_features, in_features]``, in the order of the kernel."""
        raise NotImplementedError

    def _parts(self) -> Mapping[str, Tensor]:
        """What the state_dict has of the weight, by name."""
        raise NotImplementedError

    def _take_weight(self, state: dict[str, Tensor], missing: list[str]) -> str | None:
        """Sets the weight from what ``state`` has of it, and takes that out; says what is wrong with it.

        Args:
            state: that of this module alone.
            missing: gets names that are not in it.
        """
        raise NotImplementedError

    @classmethod
    def _made_of(cls, parts: Sequence[Tensor], bias: Tensor | None, **options: Any) -> Self:
        """The module with a weight that is in few bits already."""
        out_features, in_features = parts[0].shape
        module = cls(in_features, out_features, bias is not None, parts[0].device, **options)
        module._set_weight(*parts)
        if bias is not None:
            module.bias.data.copy_(bias.detach())
        return module

    def _set_weight(self, *parts: Tensor) -> None:
        with torch.inference_mode(False), torch.no_grad():  # may be used outside of it too
            self.packed = self._pack(*(part.to(self.packed.device) for part in parts))

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
        bias, param = self._parameters["bias"], buffers["activation_param"]
        return self.op(
            input, buffers["packed"], self.out_features, *self._sizes(), bias, self.activation, param
        )

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination.update({prefix + name: part for name, part in self._parts().items()})
        super()._save_to_state_dict(destination, prefix, keep_vars)

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
        own = {name.removeprefix(prefix): v for name, v in state_dict.items() if name.startswith(prefix)}
        missing: list[str] = []
        wrong = self._take_weight(own, missing)
        missing_keys += [prefix + name for name in missing]
        if wrong is not None:
            error_msgs.append(prefix + wrong)
        rest = {prefix + name: value for name, value in own.items()}
        super()._load_from_state_dict(
            rest, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
