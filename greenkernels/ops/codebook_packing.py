"""The packed weight of ``csrc/api/codebook_gemm.h`` in plain torch, and back again."""

import torch
import torch.nn.functional as F
from torch import Tensor

PANEL, HEAD = 32, 64  # rows of the weight in a panel, bytes in front of the panels
GROUPS = (32, 64, 128, 256, 512, 1024)  # elements of the depth that share a scale
LEAST, MOST = -64, 63  # entries of the table


def group_count(k: int, group: int) -> int:
    return -(-k // group)


def bits_of(table: Tensor) -> int:
    """Of a place in a table of 4 or 16 entries."""
    return 2 if table.shape[0] == 4 else 4


def packed_bytes(n: int, k: int, group: int, bits: int) -> int:
    return HEAD + -(-n // PANEL) * PANEL * (group_count(k, group) * (2 + group * bits // 8) + 4)


def pack(b: Tensor, table: Tensor, scale: Tensor, group: int) -> Tensor:
    """``b [n, k]`` below the length of ``table``, and ``scale [n, groups]``, as a head and panels."""
    n, k = b.shape
    bits, groups, panels = bits_of(table), group_count(k, group), -(-n // PANEL)
    fields = 8 // bits
    head = torch.zeros(HEAD, dtype=torch.uint8, device=b.device)
    head[:16] = (table.to(torch.int16) - LEAST).to(torch.uint8).repeat(16 // table.shape[0])
    if panels * groups == 0:  # nothing but sums of nothing
        return F.pad(head, (0, packed_bytes(n, k, group, bits) - HEAD))
    rows = panels * PANEL - n
    scales = F.pad(scale, (0, 0, 0, rows)).bfloat16()
    entries = F.pad(table[b.long()], (0, groups * group - k, 0, rows)).reshape(-1, groups, group)
    sums = torch.zeros(panels * PANEL, device=b.device)
    for g in range(groups):  # in the kernel's order
        sums = sums + scales[:, g].float() * entries[:, g].sum(1, dtype=torch.int32).float()
    places = F.pad(b, (0, groups * group - k, 0, rows))
    places = places.reshape(panels, PANEL, groups, group // (4 * fields), fields, 4)
    words = torch.zeros_like(places[..., 0, :])
    for field in range(fields):
        words |= places[..., field, :] << bits * field
    words = words.permute(0, 2, 3, 1, 4)
    heads = scales.view(torch.uint8).reshape(panels, PANEL, groups, 2).permute(0, 2, 1, 3)
    parts = torch.cat((heads.reshape(panels, groups, 2 * PANEL), words.flatten(2)), dim=2)
    body = torch.cat((parts.flatten(1), sums.view(torch.uint8).reshape(panels, 4 * PANEL)), dim=1)
    return torch.cat((head, body.flatten()))


def unpack(packed: Tensor, n: int, k: int, group: int, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """``b [n, k]`` uint8, the table int8 and the scales ``[n, groups]`` float32, as rounded, of a packed weight."""
    groups, panels, fields = group_count(k, group), -(-n // PANEL), 8 // bits
    torch._check(
        packed.numel() == packed_bytes(n, k, group, bits),
        lambda: (
            f"codebook_gemm_unpack: packed must have {packed_bytes(n, k, group, bits)} elements for n = {n}, k = {k}, "
            f"group = {group} and bits = {bits}, got {packed.numel()}"
        ),
    )
    table = (packed[: 1 << bits].to(torch.int16) + LEAST).to(torch.int8)
    if panels * groups == 0:
        return packed.new_empty((n, k)), table, packed.new_empty((n, groups), dtype=torch.float32)
    each = PANEL * (2 + group * bits // 8)
    parts = packed[HEAD:].reshape(panels, groups * each + 4 * PANEL)[:, : -4 * PANEL]
    parts = parts.reshape(panels, groups, each)
    heads = parts[:, :, : 2 * PANEL].reshape(panels, groups, PANEL, 2).transpose(1, 2)
    heads = heads.clone(memory_format=torch.contiguous_format)  # aligned, however packed lies
    scales = heads.view(torch.bfloat16).float().reshape(panels * PANEL, groups)
    words = parts[:, :, 2 * PANEL :].reshape(panels, groups, group // (4 * fields), PANEL, 4)
    words = words.permute(0, 3, 1, 2, 4)
    most = (1 << bits) - 1
    places = torch.stack([words >> bits * field & most for field in range(fields)], dim=4)
    places = places.reshape(panels * PANEL, groups * group)
    return places[:n, :k].clone(memory_format=torch.contiguous_format), table, scales[:n].clone()
