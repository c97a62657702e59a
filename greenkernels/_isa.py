"""The instruction sets that the compiled kernels have on this CPU, and a way to force one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from . import _build


def levels() -> tuple[str, ...]:
    """Levels this CPU and this build can run, ascending: "scalar", "avx2", "avx512"; on Arm "scalar", "neon".

    Empty without a build.
    """
    if not _build.ensure_loaded():
        return ()
    return tuple(torch.ops.greenkernels.isa_levels().split(","))


def current() -> str | None:
    """The level in use, or None without compiled kernels. Loads nothing."""
    return torch.ops.greenkernels.current_isa() if _build.status().compiled else None


@contextmanager
def forced(level: str) -> Iterator[None]:
    """Runs the block with the kernels of ``level``.

    Raises:
        ValueError: This CPU or this build has no such level.
    """
    if level not in levels():
        raise ValueError(
            f"level must be one of {', '.join(levels()) or 'none (no compiled kernels)'}, got {level!r}"
        )
    before = torch.ops.greenkernels.set_isa(level)
    try:
        yield
    finally:
        torch.ops.greenkernels.set_isa(before)


@contextmanager
def without_vnni() -> Iterator[None]:
    """Runs the block without the instructions for 8-bit dot products, as on a CPU that lacks them."""
    before = torch.ops.greenkernels.set_vnni(False)
    try:
        yield
    finally:
        torch.ops.greenkernels.set_vnni(before)
