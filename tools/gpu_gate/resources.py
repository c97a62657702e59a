"""The tools of the gate: nvcc and nvdisasm, and CUDA's own occupancy calculation compiled for the host."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from greenkernels import _nvcc, _toolchain

_ENTRY = re.compile(r"Compiling entry function '(\S+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


class MissingToolError(Exception):
    """A tool that the gate needs is not there; the message says how to get it."""


@dataclass(frozen=True)
class Resources:
    """What ptxas says that a kernel uses, per thread or block."""

    registers: int
    stack_bytes: int
    spill_bytes: int
    shared_bytes: int


@dataclass(frozen=True)
class Toolchain:
    """nvcc, nvdisasm and a C++ compiler."""

    nvcc: _nvcc.Nvcc
    nvdisasm: str

    @classmethod
    def find(cls) -> Toolchain:
        """Looks for both.

        Raises:
            MissingToolError: one is not there.
        """
        nvcc = _nvcc.find_nvcc()
        if nvcc is None:
            raise MissingToolError("no nvcc: put it on PATH, or set CUDA_HOME")
        packaged = importlib.util.find_spec("nvidia")  # of PyPI's nvidia-cuda-nvdisasm, a namespace
        places = [Path(place) for place in packaged.submodule_search_locations] if packaged else []
        found = [str(path) for place in places for path in sorted(place.glob("cu*/bin/nvdisasm"))]
        nvdisasm = shutil.which("nvdisasm") or (found[0] if found else None)
        if nvdisasm is None:
            raise MissingToolError("no nvdisasm: pip install nvidia-cuda-nvdisasm==13.2.86")
        return cls(nvcc, nvdisasm)

    @property
    def version(self) -> str:
        """Of nvcc."""
        return self.nvcc.version

    def sources(self) -> list[Path]:
        """The CUDA translation units."""
        return _nvcc.sources(_toolchain.csrc())

    def assemble(self, source: Path, architecture: int, folder: Path) -> tuple[Path, dict[str, Resources]]:
        """Compiles a translation unit; the cubin, and what each kernel uses."""
        cubin = folder / f"{source.stem}-{architecture}.cubin"
        flags = [*_nvcc.FLAGS, f"-arch=sm_{architecture}", "-Xptxas=-v", f"-I{_toolchain.csrc()}"]
        command = [self.nvcc.path, *flags, "-cubin", str(source), "-o", str(cubin)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        return cubin, resources_of(done.stderr)

    def disassemble(self, cubin: Path) -> str:
        """The listing of a cubin."""
        command = [self.nvdisasm, "-c", str(cubin)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def occupancy(self, architecture: int, threads: int, used: Resources, dynamic_shared_bytes: int) -> float:
        """The share of a multiprocessor's warps that fit at once."""
        sizes = (architecture, threads, used.registers, used.shared_bytes, dynamic_shared_bytes)
        done = subprocess.run(
            [self._calculator, *map(str, sizes)], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)["occupancy"]

    @cached_property
    def _calculator(self) -> str:
        binary = Path(tempfile.mkdtemp(prefix="greenkernels-gate-")) / "occupancy"
        source = Path(__file__).with_name("occupancy.cpp")
        compiler = _toolchain.find_compiler().command
        include = ["-isystem", str(self.nvcc.home / "include")]
        subprocess.run([*compiler, "-O1", *include, str(source), "-o", str(binary)], check=True)
        return str(binary)


def resources_of(log: str) -> dict[str, Resources]:
    """Mangled name -> what it uses, of what ``ptxas -v`` prints."""
    found = {}
    for part in log.split("Compiling entry function")[1:]:
        entry = _ENTRY.search("Compiling entry function" + part)
        spills, registers, shared = (pattern.search(part) for pattern in (_SPILLS, _REGISTERS, _SHARED))
        if entry is None or spills is None or registers is None:
            raise ValueError(f"ptxas says something else than expected: {part}")
        found[entry[1]] = Resources(
            int(registers[1]),
            int(spills[1]),
            int(spills[2]) + int(spills[3]),
            int(shared[1]) if shared else 0,
        )
    return found
