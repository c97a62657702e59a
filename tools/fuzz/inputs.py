"""What a case is made of: sizes by class, values by kind, layouts in poisoned buffers, and the verdict on a result."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1.0  # times the derived bound: the one constant of all comparisons
SIZES = {
    "empty": (3, 5, 7),  # and one size that is 0
    "one": (1, 1, 1, 2),
    "prime": (3, 5, 7, 11, 13, 17, 19, 23, 29, 31),
    "edge": (8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65),  # around vectors, tiles and panels
    "large": (70, 96, 97, 112, 127, 128, 129, 160),
}
LAYOUTS = ("contiguous", "offset", "strided", "transposed", "expanded", "overlapping", "huge")
MAP_LAYOUTS = (*LAYOUTS, "channels_last")
KINDS = ("uniform", "integers", "scaled", "denormal", "nonfinite")
_TINY = 2.0**-126  # what the kernels may take for 0 is smaller
_HUGE_STRIDE = 4099  # elements from row to row: another page each


@dataclass
class Case:
    """A call and what it must give."""

    run: Callable[[Tensor], Tensor]
    x: Tensor  # the argument of run
    expected: Tensor  # float64, or integers
    bound: Tensor | float  # on each element
    spreads: bool = False  # what is not finite may reach further outputs
    like: torch.dtype = torch.float32  # of the result


def values(choose: random.Random, shape: tuple[int, ...], kind: str, dtype: torch.dtype) -> Tensor:
    """Contiguous values of a kind; of the kinds that float16 cannot hold, what it can."""
    generator = torch.Generator().manual_seed(choose.getrandbits(48))
    if kind == "integers":
        return torch.randint(-4, 5, shape, generator=generator).to(dtype)
    x = torch.rand(shape, generator=generator) * 2 - 1
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
    """Numbers of a class, one of them 0 in the class "empty"; none above ``most`` but what stays of it."""
    found = [min(most, choose.choice(SIZES[size])) for _ in range(count)]
    if size == "empty":
        found[choose.randrange(count)] = 0
    return found


def finite(x: Tensor) -> Tensor:
    """``x`` with 1 for what is not finite, to derive bounds of the other elements from."""
    return x.nan_to_num(1.0, 1.0, 1.0) if x.is_floating_point() else x


def rounding_bound(terms: Tensor, depth: int, least: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """A rounding for each of ``depth`` products and five where parts meet, each of half an eps of all terms together.

    Denormal factors and products count as 0, ``least`` is the largest factor that one of them meets.
    """
    eps = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    return (depth + 5) * (eps / 2 * terms + _TINY * (1 + least))


def fault(case: Case, out: Tensor) -> str | None:
    """Why ``out`` is wrong, or None."""
    if out.shape != case.expected.shape or out.dtype != case.like:
        return f"{out.dtype} {tuple(out.shape)} for {case.like} {tuple(case.expected.shape)}"
    if not out.is_floating_point():
        return None if torch.equal(out.long(), case.expected.long()) else "a sum of integers differs"
    got, want = out.double(), case.expected
    bound = TOLERANCE * case.bound
    if out.dtype in (torch.float16, torch.bfloat16):  # rounding of the result, which may be denormal
        bound = bound + torch.finfo(out.dtype).eps * want.abs() + torch.finfo(out.dtype).smallest_normal
    lost, missing = ~got.isfinite(), ~want.isfinite()
    spreads = case.spreads and bool(missing.any())
    if bool((missing & ~lost).any()) or (not spreads and bool((lost & ~missing).any())):
        return f"{int((lost != missing).sum())} elements are wrongly finite or wrongly not"
    wrong = ~(lost | ((got - want).abs() <= bound))
    if wrong.any():
        error = (got - want).abs()[wrong].max().item()
        return f"{int(wrong.sum())} of {wrong.numel()} elements off by up to {error:.3g}"
    return None
