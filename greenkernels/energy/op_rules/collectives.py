"""Collective operations of torch.distributed: what the ring of devices sends."""

from __future__ import annotations

from dataclasses import replace

from torch.distributed.distributed_c10d import _resolve_process_group

from ..counts import Counts, tensor_bytes
from ..links import Transfer, all_gather, all_reduce
from ..ops import Op, op_rule


def _size(op: Op) -> int:
    """Devices that take part."""
    group = op.arguments.get("process_group")
    return (
        _resolve_process_group(op.arguments["group_name"]).size() if group is None else _boxed(group).size()
    )


def _boxed(group: object) -> object:
    """The process group behind the script object that operations of the older interface are given."""
    from torch.distributed import ProcessGroup

    return ProcessGroup.unbox(group)


def _sent(op: Op, transfers: tuple[Transfer, ...], flops: int) -> Counts:
    return replace(op.work(flops), transfers=transfers)


@op_rule("_c10d_functional::all_reduce", "_c10d_functional::all_reduce_", "c10d::allreduce_")
def reduce_everywhere(op: Op) -> Counts:
    """Each element is added up once a device in the ring."""
    devices = _size(op)
    bytes_here = sum(map(tensor_bytes, op.inputs))
    elements = sum(tensor.numel() for tensor in op.inputs)
    return _sent(op, (all_reduce(bytes_here, devices),), (devices - 1) * elements)


@op_rule("_c10d_functional::all_gather_into_tensor", "c10d::_allgather_base_")
def gather_everywhere(op: Op) -> Counts:
    return _sent(op, (all_gather(tensor_bytes(op.outputs[0]), _size(op)),), 0)


@op_rule("_c10d_functional::wait_tensor", "_c10d_functional::_wrap_tensor_autograd")
def wait(op: Op) -> Counts:
    return Counts(0, 0, 0, 0, op.dtype)
