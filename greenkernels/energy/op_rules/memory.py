"""Operations that only move data, and those that only look at it in another way."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..counts import Counts, tensor_bytes
from ..links import transfer
from ..ops import Op, occupied, op_rule


@op_rule(
    "_unsafe_view", "_reshape_alias", "detach_", "lift_fresh", "alias", "unsafe_split", "empty", "empty_like"
)
@op_rule("new_empty", "empty_strided", "new_empty_strided", "resize_", "set_")
@op_rule("as_strided_", "squeeze_", "unsqueeze_", "transpose_", "t_", "swapaxes_", "swapdims_")
@op_rule("is_same_size", "_local_scalar_dense", "unsafe_split_with_sizes", "_assert_async", "unsafe_chunk")
@op_rule(
    "profiler::_record_function_enter_new", "profiler::_record_function_exit"
)  # around an optimizer's step
def nothing(op: Op) -> Counts:
    """Another look at the same memory, or memory that nobody wrote yet."""
    return Counts(0, 0, 0, 0, op.dtype)


@op_rule("clone", "cat", "stack", "repeat", "flip", "roll", "constant_pad_nd")
@op_rule("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", "pixel_shuffle")
@op_rule(
    "pixel_unshuffle", "channel_shuffle", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"
)
@op_rule("_upsample_nearest_exact2d", "im2col", "tril", "triu")
def move(op: Op) -> int:
    return 0


@op_rule("zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
@op_rule("fill_", "zero_", "scalar_tensor", "eye")
def write(op: Op) -> Counts:
    """Writes without reading."""
    return op.work(0, reads=())


@op_rule("_to_copy")
def convert(op: Op) -> Counts:
    return _between_devices(op.work(0), op.inputs[0], op.outputs[0])


@op_rule("copy_")
def copy(op: Op) -> Counts:
    source = op.arguments["src"]
    return _between_devices(op.work(0, reads=(source,)), source, op.outputs[0])


def _between_devices(work: Counts, source: Tensor, out: Tensor) -> Counts:
    """With the transfer, where the copy is on another device: over the host link, unless both are of one type."""
    if source.device == out.device:
        return work
    link = "device" if source.device.type == out.device.type else "host"
    return replace(work, transfers=(transfer(tensor_bytes(out), link),))


@op_rule("arange")
def arange(op: Op) -> Counts:
    """A multiply-add an element."""
    return op.work(2 * op.elements, reads=())


@op_rule("embedding", "index_select", "gather", "index")
def lookup(op: Op) -> Counts:
    """Reads its indices and the elements that it hands out, at most the whole table."""
    table, *indices = op.inputs
    rest = op.work(0, reads=indices)
    taken = min(occupied(op.outputs[0]), occupied(table))
    weight = taken if table.untyped_storage().data_ptr() in op.weights else 0
    return Counts(0, rest.bytes_read + taken, rest.bytes_written, rest.weight_bytes + weight, op.dtype)
