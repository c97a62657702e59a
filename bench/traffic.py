"""Simulates the caches under our kernels: what one call fetches from memory with nothing in the caches.

    python bench/traffic.py

writes `bench/traffic.json`, with which `tests/test_energy_traffic.py` compares the model of
`greenkernels.energy.reuse`. It needs valgrind and a C++ compiler; a few minutes on one core. Kernels run at their AVX2
level, the widest that valgrind has, and on one thread.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from greenkernels import _toolchain

ROOT = Path(__file__).resolve().parent.parent
L1 = "49152,12,64"  # bytes, ways, line
LL_BYTES, LINE = 4 << 20, 64  # a last level that some of the layers outgrow

# What bench/traffic.cpp takes for each kernel; layers of ResNets, a first layer, pruned layers, linear layers.
LAYERS = [
    ("winograd_conv2d", (64, 64, 56, 4)),
    ("winograd_conv2d", (128, 128, 28, 2)),
    ("winograd_conv2d", (256, 256, 14, 4)),
    ("direct_conv2d", (3, 64, 224, 7, 2)),
    ("direct_conv2d", (256, 64, 56, 1, 1)),
    ("direct_conv2d", (64, 128, 56, 3, 2)),
    ("sgemm", (64, 1024, 1024)),
    ("sgemm", (512, 2048, 512)),
    ("int8_gemm", (128, 2048, 1024)),
    ("csr_matmul", (256, 1024, 1024, 10)),
    ("csr_matmul", (1, 4096, 4096, 10)),
    ("csr_conv2d", (128, 128, 28, 10)),
]


def build(folder: Path) -> Path:
    """Compiles bench/traffic.cpp with the kernels."""
    compiler = _toolchain.find_compiler()
    sources = [
        *sorted((ROOT / "csrc/cpu").rglob("*.cpp")),
        ROOT / "csrc/raw/parallel.cpp",
        ROOT / "bench/traffic.cpp",
    ]
    objects = [folder / f"{i}.o" for i in range(len(sources))]

    def compile_one(source: Path, made: Path) -> None:
        flags = ["-std=c++20", "-O3", f"-I{ROOT / 'csrc'}", "-c", str(source), "-o", str(made)]
        subprocess.run([*compiler, *flags], check=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, sources, objects))
    subprocess.run([*compiler, *map(str, objects), "-o", str(folder / "traffic"), "-lpthread"], check=True)
    return folder / "traffic"


def misses(program: Path, calls: int, kernel: str, sizes: tuple[int, ...]) -> tuple[int, str]:
    """Lines that miss the last level while the caches are emptied twice, with that many calls; what else it prints."""
    simulator = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=yes",
        f"--D1={L1}",
        f"--LL={LL_BYTES},16,{LINE}",
    ]
    command = [
        *simulator,
        "--cachegrind-out-file=/dev/null",
        str(program),
        "2",
        str(calls),
        str(4 * LL_BYTES),
        kernel,
    ]
    done = subprocess.run(
        [*command, *map(str, sizes)],
        env={**os.environ, "GREENKERNELS_ISA": "avx2"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(re.search(r"LLd misses:\s+([\d,]+)", done.stderr)[1].replace(",", "")), done.stdout.strip()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(os.environ["TRAFFIC"]) if "TRAFFIC" in os.environ else build(Path(folder))
        rows = []
        for kernel, sizes in LAYERS:
            (with_one, _), (with_two, words) = (misses(program, calls, kernel, sizes) for calls in (1, 2))
            isa, l2 = re.fullmatch(r"isa (\w+) l2 (\d+)", words).groups()
            row = {"kernel": kernel, "sizes": sizes, "fetched_bytes": (with_two - with_one) * LINE}
            rows.append(row | {"isa": isa, "l2_bytes": int(l2)})
            print(rows[-1])
    result = {"ll_bytes": LL_BYTES, "simulator": "cachegrind 3.19", "layers": rows}
    (ROOT / "bench/traffic.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
