"""The packed weight of ``csrc/api/half_gemm.h`` in plain torch, and back again."""

import torch
import torch.nn.functional as F
from torch import Tensor

PANEL = 32  # rows of the weight in a panel
FORMATS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def packed_elements(n: int, k: int) -> int:
    return -(-n // PANEL) * PANEL * k


def pack(b: Tensor) -> Tensor:
    """``b [n, k]`` as panels ``[k][32]``."""
    n, k = b.shape
    panels = -(-n // PANEL)
    return F.pad(b, (0, 0, 0, panels * PANEL - n)).reshape(panels, PANEL, k).mT.flatten()


def unpack(packed: Tensor, n: int, k: int) -> Tensor:
    """The weight ``[n, k]`` that ``packed`` was made from, in its dtype."""
    torch._check(
        packed.numel() == packed_elements(n, k),
        lambda: (
            f"half_gemm_unpack: packed must have {packed_elements(n, k)} elements for n = {n} and k = {k}, got "
            f"{packed.numel()}"
        ),
    )
    panels = -(-n // PANEL)
    rows = packed.reshape(panels, k, PANEL).mT.reshape(panels * PANEL, k)
    return rows[:n].clone(memory_format=torch.contiguous_format)
