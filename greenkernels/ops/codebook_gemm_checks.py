"""The checks of ``csrc/ops/codebook_gemm.cpp`` in the same order and words, for fake tensors and for plain torch."""

from torch import Tensor, int8, uint8

from .codebook_packing import GROUPS, LEAST, MOST, bits_of, group_count, packed_bytes
from .conv2d_checks import dtype_name, fail, shape_text
from .few_bit_checks import check_a, check_group_scale, check_packed_tensor
from .int8_packing import MAX_DEPTH


def check_sizes(op: str, group: int, k: int) -> None:
    if group not in GROUPS:
        fail(op, f"group must be a power of two from 32 to 1024, got {group}")
    if k > MAX_DEPTH:
        fail(op, f"k must be at most {MAX_DEPTH}, got {k}")


def check_codebook(op: str, b: Tensor, table: Tensor, scale: Tensor, group: int) -> None:
    if b.dim() != 2:
        fail(op, f"b must be 2-D, got shape {shape_text(b.shape)}")
    if b.dtype != uint8:
        fail(op, f"b must be uint8, got {dtype_name(b.dtype)}")
    k = b.shape[1]
    check_sizes(op, group, k)
    if tuple(table.shape) not in ((4,), (16,)):
        fail(op, f"table must have shape [4] or [16], got {shape_text(table.shape)}")
    if table.dtype != int8:
        fail(op, f"table must be int8, got {dtype_name(table.dtype)}")
    if table.device != b.device:
        fail(op, f"table must be on the device of b, {b.device}, got {table.device}")
    check_group_scale(op, b, scale, group_count(k, group))


def check_plain(op: str, a: Tensor, b: Tensor, table: Tensor, scale: Tensor, group: int) -> None:
    check_a(op, a)
    check_codebook(op, b, table, scale, group)
    if b.device != a.device:
        fail(op, f"b must be on the device of a, {a.device}, got {b.device}")
    if b.shape[1] != a.shape[-1]:
        fail(op, f"b must be [n, k] with the k of a, {shape_text(a.shape)}, got {shape_text(b.shape)}")


def check_packed(op: str, a: Tensor, packed: Tensor, n: int, group: int, bits: int) -> None:
    check_a(op, a)
    k = a.shape[-1]
    check_sizes(op, group, k)
    if bits not in (2, 4):
        fail(op, f"bits must be 2 or 4, got {bits}")
    sizes = {"n": n, "k": k, "group": group, "bits": bits}
    check_packed_tensor(op, a, packed, sizes, lambda: packed_bytes(n, k, group, bits))


def check_values(op: str, b: Tensor, table: Tensor) -> None:
    """The values, which fake tensors do not have."""
    for value in table[(table < LEAST) | (table > MOST)][:1].tolist():
        fail(op, f"table must be in [{LEAST}, {MOST}], got {value}")
    most = (1 << bits_of(table)) - 1
    for value in b[b > most][:1].tolist():
        fail(op, f"b must be in [0, {most}], got {value}")
