"""The packed weights of ``csrc/api/int8_gemm.h`` and ``csrc/api/int8_conv2d.h`` in plain torch, and back again."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PANEL = 32  # rows of the weight in a panel
SLICE = 1 << 16  # products of which sums fit in int32
MAX_DEPTH = (1 << 24) - 1


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


def packed_filter_bytes(out_c: int, group_in_c: int, kernel_size: Sequence[int], groups: int) -> int:
    return groups * packed_bytes(out_c // groups, group_in_c * math.prod(kernel_size))


def pack_filter(weight: Tensor, groups: int) -> Tensor:
    """``weight [out_c, in_c / groups, kernel_h, kernel_w]`` int8, group by group as ``pack`` has it."""
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
    n, k = out_c // groups, group_in_c * math.prod(kernel_size)
    parts = [unpack(part, n, k) for part in packed.reshape(groups, wanted // groups)]
    rows = torch.cat(parts).reshape(out_c, *kernel_size, group_in_c)
    return rows.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
