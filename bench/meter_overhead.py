"""What a meter costs the program that it meters: time of an empty block, by source, and threads left behind.

    python bench/meter_overhead.py

Counters are stand-ins: NVIDIA's driver is `tests/fake_nvml.c` under the real nvidia-ml-py, RAPL a tree of files.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import pynvml
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from fake_nvml import compile_fake

from greenkernels.energy import EnergyMeter, estimate, nvml, powercap

BLOCKS = 1000


def report(name: str, meter: EnergyMeter, blocks: int = BLOCKS) -> None:
    """Median and 95th percentile of what a block takes from outside, and how much of it is inside of its time."""
    outside, inside = [], []
    for _ in range(blocks):
        begin = time.perf_counter()
        with meter:
            pass
        outside.append(time.perf_counter() - begin)
        inside.append(meter.time_s.value)
    whole, late = statistics.median(outside) * 1e6, statistics.quantiles(outside, n=20)[-1] * 1e6
    print(
        f"{name}: {whole:.1f} us (95 %: {late:.1f}), of it in time_s: {statistics.median(inside) * 1e6:.2f} us"
    )


def gpus(library: ctypes.CDLL, count: int, period: float | None) -> None:
    """That many fake GPUs, whose counters are known to change so often; None for those without one."""
    library.fake_reset(count)
    nvml._periods.clear()
    nvml._periods.update({f"GPU-{0xA0 + i:08x}-fake": period for i in range(count)})


def powercap_tree(folder: Path) -> None:
    """A package and its memory."""
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram")):
        path = folder / "class/powercap" / zone
        path.mkdir(parents=True)
        for file, text in (("name", name), ("max_energy_range_uj", "1000000000"), ("energy_uj", "5")):
            (path / file).write_text(text)
        powercap._periods[str(path)] = 0.001
    os.environ["GREENKERNELS_POWERCAP"] = str(folder / "class/powercap")


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        library = ctypes.CDLL(str(compile_fake(Path(folder))))
        pynvml.CDLL = lambda name: library
        gpus(library, 1, 0.1)
        report("nvml, one GPU", EnergyMeter(source="nvml"))
        gpus(library, 2, 0.1)
        report("nvml, two GPUs", EnergyMeter(source="nvml"))
        gpus(library, 1, None)
        report("nvml, sampled power", EnergyMeter(source="nvml"), BLOCKS // 5)
        powercap_tree(Path(folder) / "sys")
        report("rapl, package and memory", EnergyMeter(source="rapl"))
        report("rapl, watched", EnergyMeter(source="rapl", watch=True), BLOCKS // 5)
        net = torch.nn.Linear(4, 4).eval()
        report(
            "model, with an estimate", EnergyMeter(source="model", estimate=estimate(net, torch.randn(1, 4)))
        )
        report("model, counting", EnergyMeter(source="model"))
    print(f"threads: {threading.active_count()}")


if __name__ == "__main__":
    main()
