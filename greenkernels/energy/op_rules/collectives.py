"""Collective operations of torch.distributed: the share of this process, so that a sum over processes is the whole.

What goes around a ring is charged in equal shares, over the link to the next process; what has one receiver, to its
sender. A sum of n tensors takes n - 1 additions an element, wherever they are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.distributed.distributed_c10d import _resolve_process_group, get_process_group_ranks

from ..counts import Counts, tensor_bytes
from ..links import Transfer, link_between, share, summed
from ..ops import Op, occupied, op_rule, tensors

_GIVEN = ("input", "inputs", "input_tensor", "input_tensors", "input_list", "tensor", "tensors")
_MADE = ("output", "outputs", "output_tensor", "output_tensors", "output_lists", "out")


def _group(op: Op) -> Any:
    """The process group, out of the script object that operations of the older interface are given."""
    boxed = op.arguments.get("process_group")
    if boxed is None:
        return _resolve_process_group(op.arguments["group_name"])
    from torch.distributed import ProcessGroup

    return ProcessGroup.unbox(boxed)


def _given(op: Op) -> list[Tensor]:
    """What this process brings."""
    return [tensor for name in _GIVEN for tensor in tensors(op.arguments.get(name))]


def _made(op: Op) -> list[Tensor]:
    """What it takes away; operations in place name it nowhere else."""
    if any(name in op.arguments for name in _MADE):
        return [tensor for name in _MADE for tensor in tensors(op.arguments.get(name))]
    return op.outputs or _given(op)


def _size(found: Iterable[Tensor]) -> int:
    return sum(map(tensor_bytes, found))


def _work(op: Op, sent: Iterable[Transfer], flops: int = 0) -> Counts:
    read, written = (sum(map(occupied, part)) for part in (_given(op), _made(op)))
    return Counts(flops, read, written, 0, op.dtype, transfers=summed(tuple(sent)))


def _around(op: Op, rounds: int, tensor_size: int, added: int = 0) -> Counts:
    """A ring of n processes that send ``rounds * (n - 1)`` tensors of that size and sum n times ``added`` elements."""
    group = _group(op)
    ranks, me, n = get_process_group_ranks(group), group.rank(), group.size()
    whole = Transfer(link_between(ranks[me], ranks[(me + 1) % n]), rounds * (n - 1) * tensor_size)
    return _work(op, (whole.share(n, me),), share((n - 1) * added, n, me))


def _to(op: Op, bytes_to: dict[int, int]) -> Counts:
    """Bytes to each receiver by its rank in the group; those to this process itself stay here."""
    group = _group(op)
    ranks, me = get_process_group_ranks(group), group.rank()
    sent = (
        Transfer(link_between(ranks[me], ranks[peer]), size) for peer, size in bytes_to.items() if peer != me
    )
    return _work(op, sent)


@op_rule("_c10d_functional::all_reduce", "_c10d_functional::all_reduce_", "c10d::allreduce_")
@op_rule("_c10d_functional::all_reduce_coalesced", "_c10d_functional::all_reduce_coalesced_")
@op_rule("c10d::allreduce_coalesced_")
def reduce_everywhere(op: Op) -> Counts:
    given = _given(op)
    return _around(op, 2, _size(given), sum(tensor.numel() for tensor in given))


@op_rule("c10d::reduce_", "c10d::_reduce_scatter_base_", "c10d::reduce_scatter_")
@op_rule("c10d::reduce_scatter_tensor_coalesced_", "_c10d_functional::reduce_scatter_tensor")
@op_rule("_c10d_functional::reduce_scatter_tensor_coalesced", "_c10d_functional::reduce_scatter_tensor_out")
def reduce_to_one_each(op: Op) -> Counts:
    """To one process, or every part to another: the whole goes around once."""
    given = _given(op)
    return _around(op, 1, _size(given), sum(tensor.numel() for tensor in given))


@op_rule("_c10d_functional::all_gather_into_tensor", "_c10d_functional::all_gather_into_tensor_out")
@op_rule("_c10d_functional::all_gather_into_tensor_coalesced", "c10d::_allgather_base_", "c10d::allgather_")
@op_rule("c10d::allgather_coalesced_", "c10d::allgather_into_tensor_coalesced_")
def gather_everywhere(op: Op) -> Counts:
    return _around(op, 1, _size(_made(op)))


@op_rule("c10d::broadcast_", "_c10d_functional::broadcast", "_c10d_functional::broadcast_")
def broadcast(op: Op) -> Counts:
    return _around(op, 1, _size(_given(op)))


@op_rule("c10d::alltoall_")
def exchange(op: Op) -> Counts:
    return _to(op, dict(enumerate(map(tensor_bytes, op.arguments["input_tensors"]))))


@op_rule("c10d::alltoall_base_", "_c10d_functional::all_to_all_single", "_dtensor::shard_dim_alltoall")
def exchange_parts(op: Op) -> Counts:
    """Rows of one tensor, as many to each as ``input_split_sizes`` says, else equally many."""
    whole, n = _size(_given(op)), _group(op).size()
    rows = list(op.arguments.get("input_split_sizes") or [1] * n)
    return _to(op, {peer: whole * part // max(sum(rows), 1) for peer, part in enumerate(rows)})


@op_rule("c10d::gather_")
def gather(op: Op) -> Counts:
    return _to(op, {op.arguments["root_rank"]: _size(_given(op))})


@op_rule("c10d::scatter_")
def scatter(op: Op) -> Counts:
    """Only the root brings tensors."""
    return _to(op, dict(enumerate(map(tensor_bytes, _given(op)))))


@op_rule("c10d::send", "_c10d_functional::isend")
def send(op: Op) -> Counts:
    return _to(op, {op.arguments["dst"]: _size(_given(op))})


@op_rule("c10d::recv_", "c10d::recv_any_source_", "_c10d_functional::irecv")
def receive(op: Op) -> Counts:
    """Charged to the sender."""
    return Counts(0, 0, sum(map(occupied, _given(op))), 0, op.dtype)


@op_rule("_c10d_functional::wait_tensor", "_c10d_functional::_wrap_tensor_autograd")
@op_rule("c10d::barrier", "c10d::monitored_barrier_", "_dtensor::mesh_get_process_group")
def wait(op: Op) -> Counts:
    return Counts(0, 0, 0, 0, op.dtype)


@op_rule("fsdp::all_gather_copy_in")
def copy_shards(op: Op) -> Counts:
    """Into the part of a buffer that belongs to this process."""
    moved = sum(map(occupied, op.arguments["all_gather_inputs"]))
    return Counts(0, moved, moved, 0, op.dtype)


@op_rule("fsdp::split_with_sizes_copy", "fsdp::chunk_cat", "fsdp::copy_")
def copy_out(op: Op) -> Counts:
    """From a buffer into parameters, or from gradients into a buffer."""
    written = list(tensors(op.arguments["tensor" if "data" in op.arguments else "out"]))
    known = {id(tensor) for tensor in written}
    read = [tensor for tensor in op.inputs if id(tensor) not in known]
    return Counts(0, sum(map(occupied, read)), sum(map(occupied, written)), 0, op.dtype)
