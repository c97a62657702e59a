"""MKL told that it is on an Intel CPU: on others it takes a slow path by the vendor's name, not by what the CPU can do.

A preloaded library answers for the function that MKL asks. torch itself runs with it, in a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import torch

from ...._jit import cache_dir
from ...._toolchain import BuildError, find_compiler
from ...contender import Contender
from .. import CannotRun, LinearTask, MatmulTask, Rival
from ..worker import SERVED, Service, served

NAME, PACKED = "MKL as Intel", "MKL as Intel, packed"
SOURCE = 'extern "C" int mkl_serv_intel_cpu_true() { return 1; }\n'


def vendor(cpuinfo: str) -> str:
    """The CPU's maker as /proc/cpuinfo has it; "" where it does not say (not x86)."""
    found = re.search(r"^vendor_id\s*:\s*(\S+)", cpuinfo, re.MULTILINE)
    return found[1] if found else ""


def version() -> str:
    if not torch.backends.mkl.is_available():
        raise CannotRun("this torch was built without MKL")
    try:
        maker = vendor(Path("/proc/cpuinfo").read_text())
    except OSError:
        maker = ""
    if maker == "GenuineIntel":
        raise CannotRun("this CPU is Intel: torch's MKL takes its fast path already")
    return torch.__version__


def preload() -> Path:
    """The library to preload, compiled on first use into the cache.

    Raises:
        CannotRun: there is no compiler, or it failed.
    """
    library = cache_dir() / "mkl_as_intel.so"
    if library.exists():
        return library
    try:
        compiler = find_compiler()
    except BuildError as error:
        raise CannotRun(f"needs a C++ compiler for a one-line library: {error.cause}. {error.mend}") from None
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        command = [*compiler.command, "-shared", "-fPIC", "-x", "c++", "-", "-o", str(made)]
        done = subprocess.run(command, input=SOURCE, capture_output=True, text=True)
        if done.returncode != 0:
            raise CannotRun(f"its one-line library does not compile: {(done.stderr.splitlines() or [''])[0]}")
        made.replace(library)  # whole or not at all, for others who compile it now
    return library


def build(name: str, task: LinearTask | MatmulTask) -> Contender:
    preloaded = " ".join(filter(None, (str(preload()), os.environ.get("LD_PRELOAD"))))
    service = Service(name, SERVED / "mkl_as_intel.py", environment={"LD_PRELOAD": preloaded})
    kind = "matmul" if isinstance(task, MatmulTask) else "linear"
    packed = name == PACKED
    flags = f"mkl_serv_intel_cpu_true preloaded, {'packed weights' if packed else 'weights not packed'}"
    return served(service, task, {"kind": kind, "packed": packed}, flags)


RIVALS = (
    Rival(
        name=NAME,
        about="torch.mm and F.linear on an MKL that takes its Intel path, in a process of its own",
        tasks=(LinearTask, MatmulTask),
        version=version,
        build=partial(build, NAME),
    ),
    Rival(
        name=PACKED,
        about="the same with weights in MKL's packed form (torch.ops.mkl._mkl_linear)",
        tasks=(LinearTask,),
        version=version,
        build=partial(build, PACKED),
    ),
)
