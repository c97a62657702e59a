"""The packed weight of ``csrc/api/int4_gemm.h`` in plain torch, and back again."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PANEL = 32  # rows of the weight in a panel
GROUPS = (32, 64, 128)  # elements of the depth that share a scale
LEAST, MOST = -8, 7  # values of 4 bits


def group_count(k: int, group: int) -> int:
    return -(-k // group)


def packed_bytes(n: int, k: int, group: int) -> int:
    return -(-n // PANEL) * PANEL * (group_count(k, group) * (2 + group // 2) + 4)


def pack(b: Tensor, scale: Tensor, group: int) -> Tensor:
    """``b [n, k]`` in [-8, 7] and ``scale [n, groups]`` as panels of bfloat16 scales, nibbles and sums of rows."""
    n, k = b.shape
    groups, panels = group_count(k, group), -(-n // PANEL)
    if panels * groups == 0:  # nothing but sums of nothing
        return torch.zeros(packed_bytes(n, k, group), dtype=torch.uint8, device=b.device)
    rows = panels * PANEL - n
    scales = F.pad(scale, (0, 0, 0, rows)).bfloat16()
    values = F.pad(b, (0, groups * group - k, 0, rows)).reshape(panels * PANEL, groups, group)
    sums = torch.zeros(panels * PANEL, device=b.device)
    for g in range(groups):  # in the kernel's order
        sums = sums + scales[:, g].float() * values[:, g].sum(1, dtype=torch.int32).float()
    nibbles = (values + 8).to(torch.uint8).reshape(panels, PANEL, groups, group // 8, 2, 4)
    octets = (nibbles[..., 0, :] | nibbles[..., 1, :] << 4).permute(0, 2, 3, 1, 4)
    heads = scales.view(torch.uint8).reshape(panels, PANEL, groups, 2).permute(0, 2, 1, 3)
    parts = torch.cat((heads.reshape(panels, groups, 2 * PANEL), octets.flatten(2)), dim=2)
    return torch.cat((parts.flatten(1), sums.view(torch.uint8).reshape(panels, 4 * PANEL)), dim=1).flatten()


def unpack(packed: Tensor, n: int, k: int, group: int) -> tuple[Tensor, Tensor]:
    """The weight ``[n, k]`` int8 and its scales ``[n, groups]`` float32, as rounded, that ``packed`` was made from."""
    groups, panels = group_count(k, group), -(-n // PANEL)
    torch._check(
        packed.numel() == packed_bytes(n, k, group),
        lambda: (
            f"int4_gemm_unpack: packed must have {packed_bytes(n, k, group)} elements for n = {n}, k = {k} and "
            f"group = {group}, got {packed.numel()}"
        ),
    )
    if panels * groups == 0:
        return packed.new_empty((n, k), dtype=torch.int8), packed.new_empty((n, groups), dtype=torch.float32)
    body = packed.reshape(panels, math.prod((PANEL, groups * (2 + group // 2) + 4)))[:, : -4 * PANEL]
    parts = body.reshape(panels, groups, PANEL * (2 + group // 2))
    heads = parts[:, :, : 2 * PANEL].reshape(panels, groups, PANEL, 2).transpose(1, 2)
    heads = heads.clone(memory_format=torch.contiguous_format)  # aligned, however packed lies
    scales = heads.view(torch.bfloat16).float().reshape(panels * PANEL, groups)
    octets = parts[:, :, 2 * PANEL :].reshape(panels, groups, group // 8, PANEL, 4).permute(0, 3, 1, 2, 4)
    values = torch.stack((octets & 15, octets >> 4), dim=4).to(torch.int8) - 8
    values = values.reshape(panels * PANEL, groups * group)
    return values[:n, :k].clone(memory_format=torch.contiguous_format), scales[:n].clone()
