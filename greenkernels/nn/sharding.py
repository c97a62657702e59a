"""Linear layers whose weight is a DTensor: each process runs the kernel on its shard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def is_sharded(tensor: Any) -> bool:
    """Whether it is a DTensor; torch.distributed is not imported to find out."""
    if type(tensor) in (Tensor, nn.Parameter) or not torch.distributed.is_available():
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """The part of a DTensor that is here, which shares memory and counted writes with it; any other tensor as it is."""
    if not is_sharded(tensor):
        return tensor
    with torch.no_grad():
        return tensor.to_local()


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a DTensor, which every process must ask for; any other tensor as it is."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def refuse(module: nn.Module, name: str, value: Any) -> None:
    """Raises RuntimeError for a parameter or an input that is a DTensor where the module cannot be cut in parts."""
    if is_sharded(value):
        raise RuntimeError(
            f"{type(module).__name__}: {name} must be no DTensor, got placements {value.placements}: its packed weight "
            "cannot be sharded; shard the stock layer first (parallelize_module), or shard data (DDP, fully_shard)"
        )


def linear(input: Tensor, weight: Tensor, bias: Tensor | None, product: _Product) -> Tensor:
    """``input @ weight.T + bias`` by ``product`` on the shards, as ColwiseParallel and RowwiseParallel cut them.

    Args:
        input: ``[..., in_features]``; a DTensor, or the same tensor in every process.
        weight: DTensor ``[out_features, in_features]`` on a mesh of one dimension.
        bias: DTensor ``[out_features]`` or None.
        product: of plain tensors.

    Returns:
        A DTensor: sharded in its last dimension where ``weight`` is sharded in rows, a sum still to be taken where it
        is sharded in columns and there is no bias.

    Raises:
        RuntimeError: the mesh has several dimensions, or the bias is no DTensor.
    """
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

    mesh, placement = weight.device_mesh, weight.placements[0]
    if mesh.ndim != 1:
        raise RuntimeError(
            f"greenkernels: weight must be sharded over a mesh of 1 dimension, got {mesh.ndim}"
        )
    if bias is not None and not is_sharded(bias):
        raise RuntimeError("greenkernels: bias must be a DTensor where weight is one")
    if not is_sharded(input):
        input = DTensor.from_local(input, mesh, [Replicate()], run_check=False)
    if placement == Shard(1):
        rows = input.redistribute(mesh, [Shard(input.ndim - 1)]).to_local()
        out = DTensor.from_local(product(rows, weight.to_local(), None), mesh, [Partial()], run_check=False)
        return out if bias is None else out + bias
    in_rows = placement == Shard(0)
    rows = input.redistribute(mesh, [Replicate()]).to_local(
        grad_placements=[Partial() if in_rows else Replicate()]
    )
    part = None if bias is None else bias.redistribute(mesh, [placement]).to_local()
    out = product(rows, weight.to_local(), part)
    return DTensor.from_local(out, mesh, [Shard(out.ndim - 1) if in_rows else Replicate()], run_check=False)
