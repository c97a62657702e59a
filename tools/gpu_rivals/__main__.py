"""Counts our CUDA kernels against those that CUTLASS and Triton make, without a GPU: the hottest loop of each.

Issued instructions and bytes fetched from global memory for 1024 useful multiply-adds of a warp, on compute capability
8.0, as a table in Markdown: docs/ptxsim.md has one. Nothing is timed. CUTLASS and Triton come from an environment of
their own:

    python -m venv rivals && rivals/bin/pip install triton nvidia-cutlass nvidia-cuda-nvdisasm==13.2.86
    python tools/gpu_rivals rivals/bin/python
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "gpu_gate"))

from budget import short_name  # noqa: E402
from resources import Toolchain  # noqa: E402
from sass import kernels_of  # noqa: E402

ARCHITECTURE = 80
# The instruction that multiplies.
STEMS = {
    "sgemm": "FFMA",
    "sgemm_tf32x3": "HMMA.1688",
    "int8_gemm": "IMMA.16832",
    "winograd_conv2d": "FFMA",
    "csr_matmul": "FFMA",
}
# Useful ones of one instruction, by a warp; three of TF32 make one of float32.
MULTIPLY_ADDS = {"FFMA": 32, "HMMA.1688": 16 * 8 * 8 / 3, "IMMA.16832": 16 * 8 * 32}
WINOGRAD = 36 / 16  # multiply-adds of a direct convolution for one of F(2 x 2, 3 x 3)
_FETCH = re.compile(r"^(?:LDG|LDGSTS)\b.*")
# Of ours, the ones for aligned operands with stride 1 along the depth, which is what the rivals take.
OURS = re.compile(
    r"sgemm_kernelILi\d+ELb1ELb1ELi4E|sgemm_tf32x3_kernel\w+Lb1ELb1ELi4E|int8_gemm_mma_kernel\w+Lb0ELb0ELb1E|winograd_fused"
    r"|csr_many_rows_kernelIfiLi4E"
)


@dataclass(frozen=True)
class Count:
    """The hottest loop of a kernel, for 1024 useful multiply-adds of a warp."""

    name: str
    instructions: float
    fetched_bytes: float
    local: int  # accesses of the loop to spilled registers


def main() -> int:
    """Prints a table for each stem."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("python", help="of the environment with CUTLASS and Triton")
    arguments.add_argument("--stem", choices=STEMS, action="append", help="default: all")
    chosen, toolchain = arguments.parse_args(), Toolchain.find()
    for stem in chosen.stem or STEMS:
        counts = sorted(all_counts(stem, toolchain, chosen.python), key=lambda count: count.instructions)
        best, fetches = counts[0].instructions, min(count.fetched_bytes for count in counts)
        print(f"\n| {stem} | issued | of the best | fetched bytes | of the best | spills in the loop |")
        print("|---|---|---|---|---|---|")
        for count in counts:
            ratios = count.instructions / best, count.fetched_bytes / fetches
            numbers = (
                f"{count.instructions:.2f} | {ratios[0]:.2f} | {count.fetched_bytes:.0f} | {ratios[1]:.2f}"
            )
            print(f"| {count.name} | {numbers} | {count.local or 'none'} |")
    return 0


def all_counts(stem: str, toolchain: Toolchain, python: str) -> Iterator[Count]:
    """Ours, CUTLASS's, Triton's."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        ours = next(source for source in toolchain.sources() if source.stem == stem.removesuffix("_tf32x3"))
        cubin, _ = toolchain.assemble(ours, ARCHITECTURE, folder)
        yield from counts_of(stem, toolchain, cubin, "ours")
        rival = folder / "cutlass.cubin"
        asked = [python, "-c", "import cutlass_library; print(cutlass_library.__path__[0])"]
        home = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        flags = ["-std=c++17", "-O3", f"-arch=sm_{ARCHITECTURE}", f"-I{home}/source/include", "-w", "-cubin"]
        source = HERE / f"cutlass_{stem.removesuffix('_gemm')}.cu"
        if source.exists():  # CUTLASS has no product with an unstructured sparse matrix
            subprocess.run([toolchain.nvcc.path, *flags, str(source), "-o", str(rival)], check=True)
            yield from counts_of(stem, toolchain, rival, "CUTLASS")
        script = str(HERE / "triton_products.py")
        subprocess.run([python, script, str(folder)], check=True, capture_output=True)
        for path in sorted(folder.glob(f"{stem} *.cubin")):
            yield from counts_of(stem, toolchain, path, f"Triton {path.stem.split()[1]}")


def counts_of(stem: str, toolchain: Toolchain, cubin: Path, whose: str) -> Iterator[Count]:
    """A count for each kernel of a cubin that multiplies."""
    for name, listing in kernels_of(toolchain.disassemble(cubin)).items():
        if whose == "ours" and not OURS.search(name):
            continue
        loop = listing.hottest()
        products = sum(opcode.startswith(STEMS[stem]) for opcode in loop) * MULTIPLY_ADDS[STEMS[stem]]
        if products == 0:
            continue
        if "winograd_fused" in name:
            products *= WINOGRAD
        fetched = 32 * sum(width_of(opcode) for opcode in loop if _FETCH.match(opcode))
        local = sum(opcode.startswith(("LDL", "STL")) for opcode in loop)
        tile = re.search(r"GemmShapeILi(\d+)ELi(\d+)ELi(\d+)E", name)
        title = f"{whose} {'x'.join(tile.groups())}" if tile else whose
        title = f"ours, `{short_name(name)}`" if whose == "ours" else title
        yield Count(title, 1024 * len(loop) / products, 1024 * fetched / products, local)


def width_of(opcode: str) -> int:
    """Bytes that a lane loads."""
    wide = re.search(r"\.(128|64)\b", opcode)
    return int(wide[1]) // 8 if wide else 4


if __name__ == "__main__":
    sys.exit(main())
