"""Batch norm folded into the convolution before it: the arithmetic, and what tells that it has to be done again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .packing import can_track


def check_norm(norm: nn.Module, channels: int) -> None:
    """Raises ValueError unless the module is an ``nn.BatchNorm2d`` of that many channels with running statistics."""
    if type(norm) is not nn.BatchNorm2d:
        raise ValueError(f"norm must be an nn.BatchNorm2d, got {type(norm).__name__}")
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("norm must have running statistics, got track_running_stats=False")
    if norm.num_features != channels:
        raise ValueError(f"norm must have {channels} features, got num_features={norm.num_features}")


def folded(weight: Tensor, bias: Tensor | None, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias whose convolution is ``norm(conv(x))`` for a batch norm in eval mode; differentiable.

    ``weight * s`` and ``(bias - running_mean) * s + norm.bias``, ``s = norm.weight / sqrt(running_var + eps)``,
    computed in float64 and rounded once. Strides of ``weight`` are kept.
    """
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() if bias is None else bias.double() - norm.running_mean.double()
    shift = shift * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    scaled = weight.double() * scale.view(-1, 1, 1, 1)
    return scaled.to(weight.dtype), shift.to(weight.dtype)


def folded_scale(scale: Tensor, bias: Tensor | None, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """The same for a filter of integers with scales ``[..., channels]``; not differentiable."""
    with torch.no_grad():
        columns = scale.reshape(-1, scale.shape[-1]).t()[:, :, None, None]
        columns, bias = folded(columns, bias, norm)
    return columns.flatten(1).t().reshape(scale.shape).contiguous(), bias


@dataclass
class FoldedFrom:
    """Batch norms, and other tensors, at the moment they were folded.

    Attributes:
        norms: which must not train.
        entries: dict of parameters or buffers, key, tensor, its version or None where torch counts no writes to it.
    """

    norms: tuple[nn.Module, ...]
    entries: list[tuple[dict[str, Tensor | None], str, Tensor | None, int | None]]

    @classmethod
    def of(
        cls, norms: Iterable[nn.Module], places: Iterable[tuple[dict[str, Tensor | None], str]]
    ) -> FoldedFrom:
        norms = tuple(norms)
        owns = [own for norm in norms for own in (norm._parameters, norm._buffers)]
        # The count of batches too: torch counts no writes of a forward in training mode to the running statistics.
        places = [*places, *((own, name) for own in owns for name in own)]
        return cls(norms, [(own, name, own[name], _version(own[name])) for own, name in places])

    def holds(self) -> bool:
        """Whether all are the same tensors, and nothing was written to them as far as torch counts writes."""
        for tensors, name, tensor, version in self.entries:
            if tensors.get(name) is not tensor or (version is not None and tensor._version != version):
                return False
        return not any([norm.training for norm in self.norms])


def _version(tensor: Tensor | None) -> int | None:
    return tensor._version if tensor is not None and can_track(tensor) else None
