"""Counts the instructions that the kernels execute on 64-bit Arm, under qemu, and prints them as a table.

Needs aarch64-linux-gnu-g++ and qemu-aarch64-static, and the library of the preset aarch64. Each kernel runs once
with one call and once with two on a small case; what the second call executed is the difference, so that
allocation, packing and start-up do not count. An emulator knows no cycles: nothing here is a time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from counts import count, read_disassembly, read_trace

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "aarch64"
MOST = 1.3  # instructions executed in the micro-kernel over those of its ideal


class Kernel(NamedTuple):
    """A case of calls.cpp, the function that holds its micro-kernel, and what that needs at least."""

    name: str
    case: str
    micro: str
    ideal: float  # instructions for each that multiplies: itself and its share of the loads


# A block of 8 rows and 2 vectors: per step 16 multiply-adds, a load of a for every fourth step of each of the
# 8 rows, and one load of a pair of vectors of b.
BLOCK = (16 + 8 / 4 + 1) / 16
KERNELS = (
    Kernel("sgemm", "128 x 256 x 256, packed weight", "neon::gemm_rows<", BLOCK),
    Kernel("winograd_conv2d", "64 to 64 channels, 28 x 28, F(4x4)", "neon::sgemm_micro_", BLOCK),
    Kernel("int8_gemm", "128 x 256 x 512, sums", "neon::int8_micro_", BLOCK),
    # Every vector of x is used once: 16 multiply-adds, 8 loads of pairs, a value and its column.
    Kernel(
        "csr_matmul", "64 x 256 x 512, 90 % zeros", "neon::csr_(block|tile_block|any_tile)", (16 + 8 + 2) / 16
    ),
)


def main() -> int:
    """Prints the table; the status is 1 where a micro-kernel executes more than MOST times its ideal."""
    columns = (
        "kernel",
        "case",
        "executed",
        "multiply-adds",
        "of all",
        "of the micro-kernel",
        "ideal",
        "ratio",
    )
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|---|")
    within = True
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "calls"
        compile_calls(program)
        listing = subprocess.run(
            ["aarch64-linux-gnu-objdump", "--disassemble", "--demangle", program],
            check=True,
            capture_output=True,
            text=True,
        )
        disassembly = read_disassembly(listing.stdout.splitlines())
        for kernel in KERNELS:
            executed = run(program, kernel.name, 2)
            executed.subtract(run(program, kernel.name, 1))
            whole, micro = count(executed, disassembly), count(executed, disassembly, kernel.micro)
            ratio = micro.per_multiply / kernel.ideal
            within &= ratio <= MOST
            print(
                f"| `{kernel.name}` | {kernel.case} | {whole.executed} | {whole.multiply} | {whole.per_multiply:.2f} "
                f"| {micro.per_multiply:.3f} | {kernel.ideal:.3f} | {ratio:.2f} |",
                flush=True,
            )
    return 0 if within else 1


def compile_calls(program: Path) -> None:
    """Links calls.cpp with the kernels as the preset built them."""
    source = Path(__file__).with_name("calls.cpp")
    libraries = [BUILD / f"libgreenkernels_{name}.a" for name in ("cpu", "threads", "cpu")]
    options = ["-std=c++20", "-O2", "-static", f"-I{ROOT / 'csrc'}"]
    subprocess.run(["aarch64-linux-gnu-g++", *options, source, *libraries, "-o", program], check=True)


def run(program: Path, kernel: str, calls: int) -> Counter[int]:
    """How often the program executed each of its addresses."""
    command = [
        "qemu-aarch64-static",
        "-cpu",
        "max",
        "-singlestep",
        "-d",
        "nochain,exec",
        program,
        kernel,
        str(calls),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        executed = read_trace(process.stderr)
    if process.returncode:
        sys.exit(f"{kernel} ended with {process.returncode}")
    return executed


if __name__ == "__main__":
    sys.exit(main())
