"""Compiles csrc/cuda for the simulator: host code and ops as a library on csrc/sim, the device code as PTX.

Both are kept in the cache, keyed by sources, compilers and flags; and so is what each source was compiled to, keyed by
what it includes, so that a change costs the sources that it reaches.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
    digest = _digest(_nvcc.FLAGS)
    for part in ("api", "ops", "cuda", "cuda_ops", "sim"):
        for path in sorted((_toolchain.csrc() / part).rglob("*")):
            if path.is_file():
                digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _digest(flags: Sequence[str]) -> hashlib._Hash:
    """Of flags, and of what they are given to."""
    torch = _toolchain.torch_version(_toolchain.find_torch())
    tools = str(_require_nvcc()), str(_toolchain.find_compiler()), torch
    return hashlib.sha256("\0".join((*tools, *flags)).encode())


def _compile(work: Path) -> None:
    """Leaves library and PTX in ``work``."""
    nvcc, csrc = _require_nvcc(), _toolchain.csrc()
    extension = _toolchain.torch_extension()
    cxx = [*_toolchain.find_compiler().command, *_toolchain.CXX_FLAGS, *extension.compile_flags, f"-I{csrc}"]
    cxx += ["-isystem", str(nvcc.home / "include"), "-DGK_SIMULATED"]
    # PTX alone goes into the object: nothing is assembled for a GPU that is not there.
    target = f"-gencode=arch=compute_{ARCHITECTURE},code=compute_{ARCHITECTURE}"
    cuda = [nvcc.path, *_nvcc.FLAGS, "-lineinfo", target, f"-I{csrc}"]
    kernels = _nvcc.sources(csrc)
    host = [*sorted((csrc / "cuda_ops").glob("*.cpp")), csrc / "sim" / "cudart.cpp"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(_compiled_source, source, cuda) for source in kernels]
        jobs += [pool.submit(_compiled_source, source, cxx) for source in host]
        folders = [job.result() for job in jobs]
    objects = [str(folder / _OBJECT) for folder in folders]
    _run([*cxx, *objects, "-shared", *extension.link_flags, "-o", str(work / _LIBRARY)])
    texts = [next(folder.glob("*.ptx")).read_text() for folder in folders[: len(kernels)]]
    (work / _PTX).write_text(_BETWEEN.join(texts))


_OBJECT = "host.o"


def _compiled_source(source: Path, command: list[str]) -> Path:
    """A folder with the object of a source, and its PTX if it is one for nvcc."""
    digest = _digest(command)
    for path in sorted(_included(source, _toolchain.csrc())):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    folder = _jit.cache_dir() / "cuda-simulated" / "objects" / f"{source.stem}-{digest.hexdigest()[:16]}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=folder.parent) as work:
        kept = Path(work) / "kept"  # what nvcc makes on its way
        made = Path(work) / "made"
        kept.mkdir()
        made.mkdir()
        keep = ["--keep", "--keep-dir", str(kept)] if source.suffix == ".cu" else []
        _run([*command, *keep, "-c", str(source), "-o", str(made / _OBJECT)])
        for text in kept.glob(f"{source.stem}.ptx"):
            text.rename(made / text.name)
        try:
            made.rename(folder)  # whole or not at all
        except OSError:
            if not folder.exists():  # not another process that was faster
                raise
    return folder


def _included(source: Path, csrc: Path) -> set[Path]:
    """A source and all files of ``csrc`` that it includes, directly or not."""
    found, new = {source}, [source]
    while new:
        names = re.findall(r'^#include "(.+)"', new.pop().read_text(), re.MULTILINE)
        fresh = {csrc / name for name in names} - found
        found |= fresh
        new += fresh
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        log = done.stdout + done.stderr
        raise BuildError(f"compiling the CUDA kernels failed: {log.strip().splitlines()[-1:]}", log=log)
