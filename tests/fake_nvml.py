"""`fake_nvml.c` compiled, put in place of the driver under the real nvidia-ml-py, and driven by a synthetic clock."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
from synthetic_clock import SyntheticClock

from greenkernels.energy import nvml

ENERGY, POWER, FIELDS, STATE = range(4)  # groups of functions that can be told to fail
NOT_SUPPORTED, GPU_IS_LOST = 3, 15
WATTS = 200.0


class FakeGpus(SyntheticClock):
    """GPUs that draw 200 W each from time 0 on; their counters change every 0.1 s."""

    def __init__(self, library: ctypes.CDLL, count: int) -> None:
        self.library = library
        library.fake_reset(count)
        super().__init__()
        for gpu in range(count):
            self.watts(gpu, WATTS)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "seconds":
            self.library.fake_now(ctypes.c_double(value))

    def watts(self, gpu: int, watts: float) -> None:
        self.library.fake_watts(gpu, ctypes.c_double(watts))

    def offset(self, gpu: int, joules: float) -> None:
        self.library.fake_offset(gpu, ctypes.c_double(joules))

    def at(self, seconds: float, act) -> None:
        """Calls ``act`` once, when the time comes."""

        def once() -> None:
            stop()
            act()

        stop = self.every(seconds, once)


def compile_fake(folder: Path) -> Path:
    """The library, named as the driver's is. Skips where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    library = folder / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("fake_nvml.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", f"-Wl,-soname,{library.name}", "-o", library, source, "-lm"],
        check=True,
    )
    return library


def install(monkeypatch: pytest.MonkeyPatch, library: ctypes.CDLL, count: int) -> FakeGpus:
    """Puts the library under nvidia-ml-py, as freshly imported, and forgets what was found out about other GPUs."""
    pynvml = pytest.importorskip("pynvml")
    monkeypatch.setattr(pynvml, "CDLL", lambda name: library)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(nvml, "_periods", {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml.session.cache_clear()
    return FakeGpus(library, count)
