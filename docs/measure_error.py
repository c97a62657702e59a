"""Measures the rounding errors in docs/winograd_conv2d.md; ``python docs/measure_error.py --write`` puts them there.

Error: Frobenius norm of the difference to a float64 convolution of the same tensors, over the norm of that result.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from greenkernels.ops import winograd_conv2d
from greenkernels.report.tables import markdown_table

PAGE = Path(__file__).parent / "winograd_conv2d.md"
BEGIN, END = "<!-- errors:begin -->", "<!-- errors:end -->"

CHANNELS = (16, 32, 64, 128, 256, 512)
SIZE = 24  # of the maps: a multiple of 2, 4 and 6
OUT_CHANNELS = 64

# Finite points beside 0; the point at infinity is always there.
POINTS = {
    "0, ±1, ±2 (textbook)": (1, 2),
    "0, ±1/2, ±1": (Fraction(1, 2), 1),
    "0, ±5/6, ±7/6": (Fraction(5, 6), Fraction(7, 6)),
    "0, ±5/8, ±3/2": (Fraction(5, 8), Fraction(3, 2)),
    "0, ±3/4, ±3/2 (this library)": (Fraction(3, 4), Fraction(3, 2)),
}

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}

# Types of U and V.
FACTORS = {
    "float32 (this library)": (torch.float32, torch.float32),
    "U in float16": (torch.float16, torch.float32),
    "U in bfloat16": (torch.bfloat16, torch.float32),
    "U and V in bfloat16, as AVX512-BF16 multiplies": (torch.bfloat16, torch.bfloat16),
}


def make_inputs(channels: int) -> tuple[Tensor, Tensor]:
    """``x [1, c, 24, 24]`` and ``weight [64, c, 3, 3]``, normal, scaled so that outputs are as large as inputs."""
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(1, channels, SIZE, SIZE, generator=generator)
    weight = torch.randn(OUT_CHANNELS, channels, 3, 3, generator=generator) / (9 * channels) ** 0.5
    return x, weight


def relative_error(out: Tensor, x: Tensor, weight: Tensor) -> float:
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    return float((out.double() - exact).norm() / exact.norm())


def kernel_errors(channels: int) -> dict[str, float]:
    """Of torch's convolution and of this library's, for one number of input channels."""
    x, weight = make_inputs(channels)
    outputs = {"torch": F.conv2d(x, weight, padding=1)}
    for tile in (2, 4, 6):
        outputs[f"F{tile}"] = winograd_conv2d(x, weight, padding=1, tile=tile)
    return {name: relative_error(out, x, weight) for name, out in outputs.items()}


def transforms(pairs: tuple[Fraction | int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """B^T, G and A^T of Toom and Cook for the points 0, +-p and infinity, derived in exact fractions."""
    points = [Fraction(0), *(Fraction(sign * p) for p in pairs for sign in (1, -1))]
    alpha = len(points) + 1
    bt, g, at = [], [], []
    for i in range(alpha):
        others = [p for j, p in enumerate(points) if j != i]
        row = [Fraction(1)]
        norm = Fraction(1)
        for p in others:  # times (x - p)
            row = [a - p * b for a, b in zip([Fraction(0), *row], [*row, Fraction(0)], strict=True)]
            norm *= points[i] - p if i < len(points) else 1
        bt.append([*row, *[Fraction(0)] * (alpha - len(row))])
        if i < len(points):
            g.append([points[i] ** k / norm for k in range(3)])
            at.append([points[i] ** k for k in range(alpha - 2)])
        else:
            g.append([0, 0, 1])
            at.append([0] * (alpha - 3) + [1])
    bt_, g_, at_ = (
        torch.tensor([[float(v) for v in row] for row in m], dtype=torch.float64) for m in (bt, g, at)
    )
    return bt_, g_, at_.T


def plain_winograd(
    x: Tensor,
    weight: Tensor,
    pairs: tuple[Fraction | int, ...],
    u_type: torch.dtype = torch.float32,
    v_type: torch.dtype = torch.float32,
) -> Tensor:
    """A plain float32 Winograd convolution with these points; U is rounded from float64, as in the kernels.

    Factors of the products are rounded to ``u_type`` and ``v_type``, and multiplied and added in float32.
    """
    bt, g, at = transforms(pairs)
    m, alpha = at.shape
    u = torch.einsum("ai,kcij,bj->abkc", g, weight.double(), g).to(u_type).float()
    tiles = F.pad(x, (1, 1, 1, 1)).unfold(2, alpha, m).unfold(3, alpha, m)
    v = torch.einsum("ai,ncyxij,bj->abcnyx", bt.float(), tiles, bt.float()).to(v_type).float()
    product = torch.einsum("abkc,abcnyx->abknyx", u, v)
    out = torch.einsum("ia,abknyx,jb->nkyixj", at.float(), product, at.float())
    return out.reshape(1, OUT_CHANNELS, SIZE, SIZE)


def points_error(pairs: tuple[Fraction | int, ...], channels: int = 128) -> float:
    """Of a plain float32 Winograd convolution with these points."""
    x, weight = make_inputs(channels)
    return relative_error(plain_winograd(x, weight, pairs), x, weight)


def half_errors(name: str, channels: int = 128) -> dict[str, float]:
    """Where maps and weights are of this 16-bit type: of the exact result rounded, of torch's and of this library's."""
    dtype = HALVES[name]
    x, weight = (tensor.to(dtype) for tensor in make_inputs(channels))
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    outputs = {"rounding": exact.to(dtype), "torch": F.conv2d(x, weight, padding=1)}
    for tile in (2, 4, 6):
        outputs[f"F{tile}"] = winograd_conv2d(x, weight, padding=1, tile=tile)
    return {kind: relative_error(out, x, weight) for kind, out in outputs.items()}


def factor_errors(name: str, channels: int = 128) -> dict[str, float]:
    """In maps and weights of bfloat16, if the factors of the products were rounded to this type; tiles 2 and 4."""
    x, weight = (tensor.bfloat16() for tensor in make_inputs(channels))
    u_type, v_type = FACTORS[name]
    errors = {}
    for tile, pairs in ((2, (1,)), (4, (Fraction(3, 4), Fraction(3, 2)))):
        out = plain_winograd(x.float(), weight.float(), pairs, u_type, v_type).bfloat16()
        errors[f"F{tile}"] = relative_error(out, x, weight)
    return errors


def tables() -> str:
    rows = []
    for channels in CHANNELS:
        errors = kernel_errors(channels)
        ratios = [
            f"{errors[name]:.1e} ({errors[name] / errors['torch']:.1f}x)" for name in ("F2", "F4", "F6")
        ]
        rows.append([str(channels), f"{errors['torch']:.1e}", *ratios])
    by_kernel = markdown_table(
        ["input channels", "torch", "tile 2", "tile 4", "tile 6"], rows, right=(0, 1, 2, 3, 4)
    )
    rows = [[name, f"{points_error(pairs):.1e}"] for name, pairs in POINTS.items()]
    by_points = markdown_table(
        ["points of F(4x4, 3x3), and infinity", "error, 128 channels"], rows, right=(1,)
    )
    rows = [[name, *(f"{error:.1e}" for error in half_errors(name).values())] for name in HALVES]
    by_type = markdown_table(
        ["maps, 128 channels", "exact, rounded", "torch", "tile 2", "tile 4", "tile 6"],
        rows,
        right=range(1, 6),
    )
    rows = [[name, *(f"{error:.1e}" for error in factor_errors(name).values())] for name in FACTORS]
    by_factors = markdown_table(
        ["factors of the products, bfloat16 maps", "tile 2", "tile 4"], rows, right=(1, 2)
    )
    return f"{by_kernel}\n\n{by_points}\n\n{by_type}\n\n{by_factors}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    text = tables()
    if not parser.parse_args().write:
        print(text)
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
