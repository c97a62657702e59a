"""Batch norm folded into the convolution before it: the arithmetic, and what tells that it has to be done again."""

from collections.abc import Iterable

from torch import Tensor, nn


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


def version_of(norm: nn.Module) -> int:
    """A number that rises with each write to what is folded, as far as torch counts writes; -1 while it trains."""
    if norm.training:
        return -1
    return writes_to((*norm._parameters.values(), *norm._buffers.values()))


def writes_to(tensors: Iterable[Tensor | None]) -> int:
    """How often they were written to, as far as torch counts that."""
    version = 0
    for tensor in tensors:
        if tensor is not None:
            try:
                version += tensor._version
            except RuntimeError:  # made in inference mode: no writes are counted
                continue
    return version
