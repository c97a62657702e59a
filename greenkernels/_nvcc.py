"""CUDA's compiler: where it is and how it is called. Without it there are no CUDA kernels, and all else works.

Needs nothing but the standard library, as _toolchain.py does, so that setup.py can load it without the package.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

# What a wheel is for, and PTX of the last for what comes after.
ARCHITECTURES = (80, 86, 89, 90, 100, 120)

# Contraction of a * b + c stays on, as on the CPU. A spill in a kernel is an error: registers are counted on. Kernels
# call the constexpr functions of the contracts (csrc/api), which are plain C++.
FLAGS = (
    "-std=c++17",
    "-O3",
    "--expt-relaxed-constexpr",
    "-Xcompiler=-fPIC,-fvisibility=hidden",
    "-Xptxas=--warn-on-spills,--warn-on-local-memory-usage",
)


class SetupError(RuntimeError):
    """CUDA kernels cannot be built as the environment has it; the message says why."""


@dataclass(frozen=True)
class Nvcc:
    """An nvcc that runs.

    Attributes:
        path: of the command.
        home: folder of its toolkit, with ``include`` and ``lib64``; what others call CUDA_HOME.
        version: such as "13.0".
        architectures: compute capabilities that binaries are for, such as 80.
    """

    path: str
    home: Path
    version: str

    architectures: tuple[int, ...] = ARCHITECTURES  # that binaries are for

    def __str__(self) -> str:
        return f"{self.path} ({self.version}, toolkit in {self.home})"

    def command(self, compiler: Sequence[str]) -> list[str]:
        """What compiles a .cu for every architecture, but for input and output.

        Args:
            compiler: for the host's code; a ccache before it serves nvcc too.
        """
        targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in self.architectures]
        last = self.architectures[-1]
        targets.append(f"-gencode=arch=compute_{last},code=compute_{last}")
        return [*compiler[:-1], self.path, *FLAGS, *targets, f"-ccbin={compiler[-1]}"]

    def definitions(self) -> tuple[str, ...]:
        """For C++: what the kernels are compiled for, as the doctor prints it."""
        names = [f"{a // 10}.{a % 10}" for a in self.architectures]
        return (f'-DGK_CUDA_ARCHITECTURES="{", ".join(names)} and PTX"',)

    def link_flags(self) -> tuple[str, ...]:
        """The CUDA runtime, linked statically, its symbols kept inside: it loads where there is no driver."""
        folders = (self.home / part for part in ("lib64", "lib", "targets/x86_64-linux/lib"))
        library = next(
            (f / "libcudart_static.a" for f in folders if (f / "libcudart_static.a").exists()), None
        )
        if library is None:
            raise SetupError(f"no libcudart_static.a in {self.home}")
        return str(library), "-Wl,--exclude-libs,ALL", "-ldl", "-lrt", "-pthread"


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


def wanted() -> Nvcc | None:
    """The nvcc that builds CUDA kernels, for the architectures that are asked for; None where there is none.

    $GREENKERNELS_CUDA is a list of compute capabilities such as "8.0 9.0", or "0" for no CUDA kernels.

    Raises:
        SetupError: it is something else.
    """
    setting = os.environ.get("GREENKERNELS_CUDA", "").split()
    if setting == ["0"]:
        return None
    if not all(re.fullmatch(r"\d+\.\d", word) for word in setting):
        raise SetupError(f'GREENKERNELS_CUDA must be "0" or a list like "8.0 9.0", got {" ".join(setting)}')
    nvcc = find_nvcc()
    if nvcc is None:
        return None
    answer = subprocess.run([nvcc.path, "--list-gpu-code"], capture_output=True, text=True)
    known = {int(number) for number in re.findall(r"^sm_(\d+)$", answer.stdout, re.MULTILINE)}
    asked = sorted(int(word.replace(".", "")) for word in setting) or [a for a in ARCHITECTURES if a in known]
    if not known.issuperset(asked) or not asked:
        raise SetupError(f"nvcc {nvcc.version} compiles for {sorted(known)}, not for all of {asked}")
    return replace(nvcc, architectures=tuple(asked))


def sources(csrc: Path) -> list[Path]:
    """The CUDA translation units, in an order that does not depend on the file system."""
    return sorted((csrc / "cuda").rglob("*.cu"))
