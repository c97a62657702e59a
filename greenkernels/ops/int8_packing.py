"""The packed weights of ``csrc/api/int8_gemm.h`` and ``csrc/api/int8_conv2d.h`` in plain torch, and back again."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PANEL = 32  # rows of the weight in a panel
SLICE = 1 << 16  # products of which sums fit in int32
MAX_DEPTH = (1 << 24) - 1
DEPTHWISE_SIZE = 32  # rows and columns of a depthwise filter with a packing of its own, at most


def packed_bytes(n: int, k: int) -> int:
    panels = (n + PANEL - 1) // PANEL
    return panels * ((k + 3) // 4 + 1) * PANEL * 4


def pack(b: Tensor) -> Tensor:
    """``b [n, k]`` int8 as panels ``[k / 4][32][4]``, each with the int32 sums of its rows behind it."""
    n, k = b.shape
    panels, quads = (n + PANEL - 1) // PANEL, (k + 3) // 4
    padded = F.pad(b, (0, 4 * quads - k, 0, panels * PANEL - n))
    body = padded.reshape(panels, PANEL, quads, 4).transpose(1, 2)
    sums = padded.sum(1, dtype=torch.int32).view(torch.int8).reshape(panels, 1, PANEL, 4)
    return torch.cat((body, sums), dim=1).flatten()


def unpack(packed: Tensor, n: int, k: int) -> Tensor:
    """The weight ``[n, k]`` that ``packed`` was made from."""
    panels, quads = (n + PANEL - 1) // PANEL, (k + 3) // 4
    torch._check(
        packed.numel() == packed_bytes(n, k),
        lambda: (
            f"int8_gemm_unpack: packed must have {packed_bytes(n, k)} elements for n = {n} and k = {k}, "
            f"got {packed.numel()}"
        ),
    )
    body = packed.reshape(panels, quads + 1, PANEL, 4)[:, :quads]
    rows = body.transpose(1, 2).reshape(panels * PANEL, 4 * quads)
    return rows[:n, :k].clone(memory_format=torch.contiguous_format)


def is_depthwise(out_c: int, group_in_c: int, kernel_size: Sequence[int], groups: int) -> bool:
    """Whether the filter has a kernel, and a packing, of its own; see ``Int8Filter`` of the contract."""
    return groups > 1 and group_in_c == 1 and out_c == groups and max(kernel_size) <= DEPTHWISE_SIZE


def depthwise_depth(kernel_size: Sequence[int]) -> int:
    """Of a packed depthwise filter: column by column, the rows of each rounded up to a multiple of 4."""
    kernel_h, kernel_w = kernel_size
    return kernel_w * ((kernel_h + 3) // 4 * 4)


def packed_filter_bytes(out_c: int, group_in_c: int, kernel_size: Sequence[int], groups: int) -> int:
    if is_depthwise(out_c, group_in_c, kernel_size, groups):
        return packed_bytes(out_c, depthwise_depth(kernel_size))
    return groups * packed_bytes(out_c // groups, group_in_c * math.prod(kernel_size))


def pack_filter(weight: Tensor, groups: int) -> Tensor:
    """``weight [out_c, in_c / groups, kernel_h, kernel_w]`` int8, group by group as ``pack`` has it.

    A depthwise filter is one group ``[channels, kernel_w, kernel_h]``, rows rounded up to a multiple of 4.
    """
    out_c, group_in_c, *kernel = weight.shape
    if is_depthwise(out_c, group_in_c, kernel, groups):
        return pack(F.pad(weight[:, 0].transpose(1, 2), (0, -kernel[0] % 4)).flatten(1))
    rows = weight.permute(0, 2, 3, 1).flatten(1)
    return torch.cat([pack(part) for part in rows.chunk(groups)]) if len(rows) else weight.new_empty(0)


def unpack_filter(
    packed: Tensor, out_c: int, group_in_c: int, kernel_size: Sequence[int], groups: int
) -> Tensor:
    """The filter that ``packed`` was made from."""
    wanted = packed_filter_bytes(out_c, group_in_c, kernel_size, groups)
    torch._check(
        packed.numel() == wanted,
        lambda: (
            f"int8_conv2d_unpack: packed must have {wanted} elements for out_channels = {out_c}, kernel_size = "
            f"{list(kernel_size)} and groups = {groups}, got {packed.numel()}"
        ),
    )
    if is_depthwise(out_c, group_in_c, kernel_size, groups):
        kernel_h, kernel_w = kernel_size
        columns = unpack(packed, out_c, depthwise_depth(kernel_size)).reshape(out_c, 1, kernel_w, -1)
        return columns[..., :kernel_h].transpose(2, 3).clone(memory_format=torch.contiguous_format)
    n, k = out_c // groups, group_in_c * math.prod(kernel_size)
    parts = [unpack(part, n, k) for part in packed.reshape(groups, wanted // groups)]
    rows = torch.cat(parts).reshape(out_c, *kernel_size, group_in_c)
    return rows.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
