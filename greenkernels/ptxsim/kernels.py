"""Compiles csrc/cuda for the simulator: host code and ops as a library on csrc/sim, the device code as PTX.

Both are kept in the cache, keyed by sources, compilers and flags.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .. import _jit, _nvcc, _toolchain
from .._toolchain import BuildError
from .parser import parse
from .program import Module

ARCHITECTURE = 80  # the oldest that the kernels are for
_LIBRARY, _PTX = "ops.so", "kernels.ptx"


@dataclass(frozen=True)
class Kernels:
    """What was compiled.

    Attributes:
        library: shared library with launchers, and the ops of ``csrc/cuda_ops`` on CPU tensors; it wants the
            callbacks of ``csrc/sim/cudart.cpp``.
        module: every kernel.
    """

    library: Path
    module: Module


@lru_cache(maxsize=1)
def compiled() -> Kernels:
    """The library's CUDA kernels, compiled now if their sources changed.

    Raises:
        BuildError: there is no nvcc or no C++ compiler, or one of them failed.
    """
    folder = _jit.cache_dir() / "cuda-simulated" / _key()
    if not (folder / _PTX).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="work-", dir=folder.parent) as work:
            _compile(Path(work))
            try:
                os.rename(work, folder)  # whole or not at all
            except OSError:
                if not (folder / _PTX).exists():  # not another process that was faster
                    raise
            else:
                Path(work).mkdir()  # for the context manager to remove
    texts = (folder / _PTX).read_text().split(_BETWEEN)
    modules = [parse(text) for text in texts]
    kernels = {name: kernel for module in modules for name, kernel in module.kernels.items()}
    return Kernels(folder / _LIBRARY, Module(modules[0].target, kernels))


_BETWEEN = "\n// next translation unit\n"


def _require_nvcc() -> _nvcc.Nvcc:
    nvcc = _nvcc.find_nvcc()
    if nvcc is None:
        raise BuildError("no nvcc, which compiles the CUDA kernels", "Put nvcc on PATH, or set CUDA_HOME")
    return nvcc


def _key() -> str:
    digest = hashlib.sha256()
    torch = _toolchain.torch_version(_toolchain.find_torch())
    for text in (str(_require_nvcc()), str(_toolchain.find_compiler()), torch, *_nvcc.FLAGS):
        digest.update(text.encode() + b"\0")
    for part in ("api", "ops", "cuda", "cuda_ops", "sim"):
        for path in sorted((_toolchain.csrc() / part).rglob("*")):
            if path.is_file():
                digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(work: Path) -> None:
    """Leaves library and PTX in ``work``."""
    nvcc, csrc = _require_nvcc(), _toolchain.csrc()
    sources = _nvcc.sources(csrc)
    texts, objects = [], []
    for source in sources:
        kept = work / source.stem
        kept.mkdir()
        objects.append(str(kept / "host.o"))
        # PTX alone goes into the object: nothing is assembled for a GPU that is not there.
        target = f"-gencode=arch=compute_{ARCHITECTURE},code=compute_{ARCHITECTURE}"
        keep = ["--keep", "--keep-dir", str(kept)]
        _run(
            [
                nvcc.path,
                *_nvcc.FLAGS,
                "-lineinfo",
                target,
                *keep,
                f"-I{csrc}",
                "-c",
                str(source),
                "-o",
                objects[-1],
            ]
        )
        texts.append((kept / f"{source.stem}.ptx").read_text())
    extension = _toolchain.torch_extension()
    flags = (
        *_toolchain.CXX_FLAGS,
        *extension.compile_flags,
        f"-I{csrc}",
        "-isystem",
        str(nvcc.home / "include"),
    )
    host = [*sorted((csrc / "cuda_ops").glob("*.cpp")), csrc / "sim" / "cudart.cpp"]
    command = [*_toolchain.find_compiler().command, *flags, "-DGK_SIMULATED"]
    for source in host:
        objects.append(str(work / f"{source.stem}.o"))
        _run([*command, "-c", str(source), "-o", objects[-1]])
    _run([*command, *objects, "-shared", *extension.link_flags, "-o", str(work / _LIBRARY)])
    for made in objects:
        Path(made).unlink()
    for source in sources:
        shutil.rmtree(work / source.stem)
    (work / _PTX).write_text(_BETWEEN.join(texts))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        log = done.stdout + done.stderr
        raise BuildError(f"compiling the CUDA kernels failed: {log.strip().splitlines()[-1:]}", log=log)
