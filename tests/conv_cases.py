"""Inputs and comparisons that the tests of all convolution ops share."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from greenkernels import _isa

COMPILED = bool(_isa.levels())  # else the ops run on plain torch
# torch can be given memory since 2.11: outputs lie in memory of earlier ones
KEEPS_OUTPUTS = COMPILED and tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 11)
needs_kernels = pytest.mark.skipif(not COMPILED, reason="a promise of the compiled kernels")
# Of torch.compile: inductor needs a C++ compiler, and there is none where the tests run on plain torch.
COMPILE_BACKEND = "inductor" if COMPILED else "aot_eager"
FORMATS = (torch.contiguous_format, torch.channels_last)
GUARD = 64  # elements before and after a tensor under test: more than the widest vector


def make(
    shape: tuple[int, ...],
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    memory_format=torch.contiguous_format,
) -> Tensor:
    """Uniform in [-1, 1)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    return x.to(dtype).contiguous(memory_format=memory_format) if len(shape) == 4 else x.to(dtype)


def assert_close(out: Tensor, expected: Tensor, bound: Tensor, label: object = "") -> None:
    """Checks value by value; a result in half precision may also be off by its own rounding."""
    assert out.shape == expected.shape, (label, out.shape, expected.shape)
    if out.dtype in (torch.float16, torch.bfloat16):
        bound = bound + torch.finfo(out.dtype).eps * expected.abs()
    error = (out.double() - expected).abs()
    assert (error <= bound).all(), (
        f"{label}: error {(error - bound).max().item():.3g} above the bound {bound.max().item():.3g}"
    )


def guarded(x: Tensor, fill: float = torch.nan) -> tuple[Tensor, Tensor]:
    """A copy of ``x`` with its strides in the middle of a buffer of ``fill``, and the buffer."""
    buffer = torch.full((x.numel() + 2 * GUARD,), fill, dtype=x.dtype)
    copy = buffer.as_strided(x.shape, x.stride(), GUARD)
    return copy.copy_(x), buffer


def views(x: Tensor) -> dict[str, Tensor]:
    """``x`` in layouts that no kernel reads directly."""
    n, c, h, w = x.shape
    wide = torch.zeros(n, c, h, 2 * w)
    wide[..., ::2] = x
    shifted = torch.cat([torch.zeros(5), x.flatten()])
    return {
        "every second column": wide[..., ::2],
        "storage offset": shifted[5:].view(x.shape),
        "transposed": x.transpose(2, 3).contiguous().transpose(2, 3),
        "batch innermost": x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
        "rows of a larger map": F.pad(x, (1, 2, 3, 4), value=torch.nan)[:, :, 3 : 3 + h, 1 : 1 + w],
    }
