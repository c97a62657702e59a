"""What a case is made of: sizes by class, values by kind, layouts in poisoned buffers."""

from __future__ import annotations

import random

import torch
from torch import Tensor

SIZES = {
    "empty": (3, 5, 7),  # and one size that is 0
    "one": (1, 1, 1, 2),
    "prime": (3, 5, 7, 11, 13, 17, 19, 23, 29, 31),
    "edge": (8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65),  # around vectors, tiles and panels
    "large": (70, 96, 97, 112, 127, 128, 129, 160),
    "long": (2, 5, 9, 16, 17),  # and one size of _LONG: more than a block of the depth or of rows
}
_LONG = (191, 255, 256, 257, 383, 385, 512, 513, 640, 1025)
# How often a class is drawn: small sizes find as much in less time.
SIZE_WEIGHTS = {"empty": 1, "one": 1, "prime": 4, "edge": 3, "large": 2, "long": 1}
LAYOUTS = ("contiguous", "offset", "strided", "transposed", "expanded", "overlapping", "huge")
MAP_LAYOUTS = (*LAYOUTS, "channels_last")
KINDS = ("uniform", "integers", "scaled", "denormal", "nonfinite")
_HUGE_STRIDE = 4099  # elements from row to row: another page each


def values(choose: random.Random, shape: tuple[int, ...], kind: str, dtype: torch.dtype) -> Tensor:
    """Contiguous values of a kind; of the kinds that float16 cannot hold, what it can."""
    generator = torch.Generator().manual_seed(choose.getrandbits(48))
    if kind == "integers":
        return torch.randint(-4, 5, shape, generator=generator).to(dtype)
    drawn = torch.float64 if dtype == torch.float64 else torch.float32
    x = torch.rand(shape, generator=generator, dtype=drawn) * 2 - 1
    if kind == "scaled":
        x = x * 2.0 ** (choose.randint(-6, 1) if dtype == torch.float16 else choose.randint(-40, 40))
    elif kind == "denormal":
        x = torch.where(torch.rand(shape, generator=generator) < 0.5, x * 2.0**-130, x)
    x = x.to(dtype)
    if kind == "nonfinite" and x.numel():
        x.view(-1)[choose.randrange(x.numel())] = choose.choice([torch.nan, torch.inf, -torch.inf])
    return x


def laid(x: Tensor, layout: str) -> Tensor:
    """A tensor of the shape of ``x`` in a layout; what surrounds it is NaN, or 77. Views that repeat change values."""
    fill = torch.nan if x.is_floating_point() else 77
    if layout == "contiguous" or x.dim() < 2:
        return x.contiguous()
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.mT.contiguous().mT
    if layout == "expanded":
        return x[:1].expand_as(x) if x.shape[0] else x
    if layout == "offset":
        buffer = torch.full((x.numel() + 37,), fill, dtype=x.dtype)
        return buffer[5 : 5 + x.numel()].view(x.shape).copy_(x)
    if layout == "strided":
        wide = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 1), fill, dtype=x.dtype)
        return wide[..., 1::2].copy_(x)
    if layout == "overlapping":  # each row begins one element after the one before
        flat = x.reshape(-1)
        return flat.as_strided(x.shape, (1,) * x.dim()) if x.numel() else x
    rows, width = x.shape[-2], x.shape[-1]
    outer = x.numel() // max(1, rows * width)
    if not x.numel() or outer * rows > 64:
        return x.contiguous()
    wide = torch.full((*x.shape[:-1], _HUGE_STRIDE + width), fill, dtype=x.dtype)
    return wide[..., :width].copy_(x)


def sizes(choose: random.Random, size: str, count: int, most: int = 1 << 30) -> list[int]:
    """Numbers of a class, none above ``most`` but one in the class "long"; in "empty" one is 0."""
    found = [min(most, choose.choice(SIZES[size])) for _ in range(count)]
    if size in ("empty", "long"):
        found[choose.randrange(count)] = 0 if size == "empty" else choose.choice(_LONG)
    return found


def finite(x: Tensor) -> Tensor:
    """``x`` with 1 for what is not finite, to derive bounds of the other elements from."""
    return x.nan_to_num(1.0, 1.0, 1.0) if x.is_floating_point() else x
