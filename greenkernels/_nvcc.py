"""CUDA's compiler: where it is and how it is called. Without it there are no CUDA kernels, and all else works.

Needs nothing but the standard library, as _toolchain.py does, so that setup.py can load it on its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Contraction of a * b + c stays on, as on the CPU. A spill in a kernel is an error: registers are counted on.
FLAGS = (
    "-std=c++17",
    "-O3",
    "-lineinfo",
    "-Xcompiler=-fPIC",
    "-Xptxas=--warn-on-spills,--warn-on-local-memory-usage",
)


@dataclass(frozen=True)
class Nvcc:
    """An nvcc that runs.

    Attributes:
        path: of the command.
        home: folder of its toolkit, with ``include`` and ``lib64``; what others call CUDA_HOME.
        version: such as "13.0".
    """

    path: str
    home: Path
    version: str

    def __str__(self) -> str:
        return f"{self.path} ({self.version}, toolkit in {self.home})"


def find_nvcc() -> Nvcc | None:
    """The nvcc of $CUDA_HOME, or else the one on PATH; None where there is none or it does not run.

    The folder of the toolkit is what nvcc says, not the folder of the command: that is often a wrapper.
    """
    home = os.environ.get("CUDA_HOME")
    path = shutil.which(str(Path(home) / "bin" / "nvcc")) if home else shutil.which("nvcc")
    if path is None:
        return None
    answer = subprocess.run([path, "--version"], capture_output=True, text=True)
    plan = subprocess.run(
        [path, "--dryrun", "-c", "-x", "cu", os.devnull, "-o", os.devnull], capture_output=True, text=True
    )
    version = re.search(r"release (\d+\.\d+)", answer.stdout)
    top = re.search(r"^#\$ TOP=(.+)$", plan.stderr, re.MULTILINE)
    if answer.returncode != 0 or version is None or top is None:
        return None
    return Nvcc(path, Path(top[1]).resolve(), version[1])


def sources(csrc: Path) -> list[Path]:
    """The CUDA translation units, in an order that does not depend on the file system."""
    return sorted((csrc / "cuda").rglob("*.cu"))
