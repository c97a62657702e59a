"""What is compiled and how: sources, flags, and the ninja run that makes a shared library of them.

Both builds come through here: ``setup.py`` ahead of time, ``_jit.py`` on first use. setup.py loads this file
and its two neighbours without the package, so they need nothing but the standard library.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import _build_file, _nvcc, _patience

OLDEST_TORCH = (2, 10)  # the first with every stable ABI call that csrc/ops makes

# No -march: kernels are compiled once per instruction set, under target pragmas, and chosen at run time.
CXX_FLAGS = ("-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
# Runs on every torch from 2.10 and every Python from 3.10.
STABLE_ABI_FLAGS = ("-DTORCH_TARGET_VERSION=0x020a000000000000", "-DPy_LIMITED_API=0x030a0000")


class BuildError(RuntimeError):
    """Why no binary can be made.

    Attributes:
        cause: one line.
        mend: the command that removes the cause, or "" where none is known.
        log: everything that ninja and the compiler said, or "" where they did not run.
    """

    def __init__(self, cause: str, mend: str = "", log: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.mend = mend
        self.log = log


@dataclass(frozen=True)
class Compiler:
    command: tuple[str, ...]  # what to run, e.g. ("ccache", "g++")
    version: str  # first line of --version

    def __str__(self) -> str:
        return f"{shlex.join(self.command)} ({self.version})"


@dataclass(frozen=True)
class Library:
    """One shared library to build: every .cpp file in some folders of csrc, and the CUDA kernels if ``nvcc`` is set."""

    name: str  # file name without suffix
    suffix: str
    folders: tuple[str, ...]  # of csrc
    compile_flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    nvcc: _nvcc.Nvcc | None = None

    @property
    def file_name(self) -> str:
        return self.name + self.suffix

    def sources(self) -> list[Path]:
        """The .cpp files, in an order that does not depend on the file system."""
        return [path for folder in self.folders for path in sorted((csrc() / folder).rglob("*.cpp"))]

    def cuda_sources(self) -> list[Path]:
        """The .cu files."""
        return _nvcc.sources(csrc()) if self.nvcc else []

    def inputs(self) -> list[Path]:
        """Everything under csrc that the result can depend on."""
        folders = ("api", *self.folders, *(("cuda",) if self.nvcc else ()))
        return [path for folder in folders for path in sorted((csrc() / folder).rglob("*")) if path.is_file()]


def csrc() -> Path:
    """The C++ sources: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_csrc"
    return installed if installed.is_dir() else package.parent / "csrc"


def torch_extension(*, ahead_of_time: bool = False) -> Library:
    """greenkernels._C: the kernels as torch ops, on torch's stable ABI.

    Args:
        ahead_of_time: the binary may go to other machines, so that CUDA kernels are in it wherever nvcc is;
            on first use they are compiled for a CUDA build of torch alone.

    Raises:
        BuildError: there is no torch, or one that is too old.
    """
    torch = find_torch()
    version = torch_version(torch)
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise BuildError(f"torch {version} is older than {oldest}", "pip install torch==2.13.0")
    try:
        nvcc = _nvcc.wanted() if ahead_of_time or cuda_of(torch) else None
        cuda_flags = nvcc.link_flags() if nvcc else ()
    except _nvcc.SetupError as error:
        raise BuildError(str(error), "export GREENKERNELS_CUDA=0") from error
    return Library(
        name="_C",
        suffix=".abi3.so",
        folders=("cpu", "ops", "cuda_ops") if nvcc else ("cpu", "ops"),
        compile_flags=(
            *STABLE_ABI_FLAGS,
            *_system_include(torch / "include"),
            *_system_include(_python_include()),
            *(nvcc.definitions() if nvcc else ()),
        ),
        link_flags=(f"-L{torch / 'lib'}", "-ltorch_cpu", "-lc10", "-pthread", *cuda_flags),
        nvcc=nvcc,
    )


def raw_extension() -> Library:
    """greenkernels_raw: the kernels on numpy arrays. No torch in it; for this Python only (no abi3).

    Raises:
        BuildError: pybind11 is missing.
    """
    spec = importlib.util.find_spec("pybind11")
    if spec is None or spec.origin is None:
        raise BuildError("pybind11 is not installed", "pip install 'greenkernels[raw]'")
    include = Path(spec.origin).parent / "include"
    return Library(
        name="greenkernels_raw",
        suffix=sysconfig.get_config_var("EXT_SUFFIX"),
        folders=("cpu", "raw"),
        compile_flags=(*_system_include(include), *_system_include(_python_include())),
        link_flags=("-pthread",),
    )


def find_torch() -> Path:
    """The folder of the torch in use.

    An isolated build hides site-packages from ``import`` to keep builds reproducible; only headers and two
    library names are wanted here, and the right ones are those of the environment that the package goes into.
    So that is looked at too.

    Raises:
        BuildError: there is none.
    """
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    for folder in (sysconfig.get_path("platlib"), sysconfig.get_path("purelib"), site.getusersitepackages()):
        if (Path(folder) / "torch" / "include").is_dir():
            return Path(folder) / "torch"
    raise BuildError("torch is not installed", "pip install torch==2.13.0")


def torch_version(torch: Path) -> str:
    """The version of the torch in that folder, without importing it."""
    found = re.search(r"__version__\s*=\s*'([^']+)'", (torch / "version.py").read_text())
    return found.group(1) if found else "unknown"


def cuda_of(torch: Path) -> str | None:
    """The CUDA that the torch in that folder is built for, such as "13.0"; None for a CPU build."""
    found = re.search(r"^cuda\b[^=]*=\s*'([^']+)'", (torch / "version.py").read_text(), re.MULTILINE)
    return found.group(1) if found else None


def find_compiler() -> Compiler:
    """$CXX, or else the first of g++, c++, clang++.

    Raises:
        BuildError: there is none, or it does not run.
    """
    if not sys.platform.startswith("linux"):
        raise BuildError(f"kernels are built on Linux only, and this is {sys.platform}")
    wanted = os.environ.get("CXX")
    candidates = [shlex.split(wanted)] if wanted else [["g++"], ["c++"], ["clang++"]]
    for command in candidates:
        if not shutil.which(command[0]):
            continue
        said, problem = _patience.ask([*command, "--version"])
        if problem:
            raise BuildError(f"'{shlex.join(command)} --version' {problem}", "unset CXX" if wanted else "")
        return Compiler(tuple(command), (said.splitlines() or ["unknown"])[0])
    if wanted:
        raise BuildError(f"CXX={wanted} is not a command", "unset CXX")
    raise BuildError("no C++ compiler (looked for g++, c++, clang++)", _install_compiler_command())


def find_ninja() -> str:
    """Path of ninja: of the PyPI package, there even if its environment is not activated, or on PATH.

    Raises:
        BuildError: there is none.
    """
    if importlib.util.find_spec("ninja") is not None:
        import ninja

        packaged = Path(ninja.BIN_DIR) / "ninja"
        if packaged.exists():
            return str(packaged)
    found = shutil.which("ninja")
    if found is None:
        raise BuildError("ninja is not installed", "pip install ninja")
    return found


def build(library: Library, work: Path, on_progress: Callable[[int, int], None] | None = None) -> Path:
    """Compiles and links ``library`` in the folder ``work``, which ninja reuses if it was built in before.

    Args:
        library: what to build.
        work: existing folder for the build file, objects and result.
        on_progress: called with (steps done, steps in all) as ninja goes on.

    Returns:
        The shared library.

    Raises:
        BuildError: a tool is missing, or the compiler failed, or it hung: no step ended for `_patience.seconds`.
    """
    ninja = find_ninja()
    try:
        limit_s = _patience.seconds()
    except ValueError as error:
        raise BuildError(str(error), f"unset {_patience.VARIABLE}") from None
    text = _build_file.text(library, find_compiler().command, CXX_FLAGS, csrc())
    (work / "build.ninja").write_text(text)
    environment = {**os.environ, "NINJA_STATUS": "[%f/%t] "}
    process = subprocess.Popen(
        [ninja, "-C", str(work)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    log: list[str] = []
    # Terminated, ninja stops its compilers and deletes their unfinished files.
    hung = _patience.Alarm(limit_s, process.terminate)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            hung.put_off()
            log.append(line)
            step = re.match(r"\[(\d+)/(\d+)\]", line)
            if step and on_progress:
                on_progress(int(step.group(1)), int(step.group(2)))
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        hung.cancel()
    if hung.rang:
        cause = f"no step ended within {limit_s:g} s ({_patience.VARIABLE} sets how long that may be)"
        raise BuildError(cause, log="".join(log))
    if code != 0:
        raise BuildError(_cause("".join(log)), log="".join(log))
    return work / library.file_name


def _cause(log: str) -> str:
    """The first error in a compiler's log, without the folders before the file name."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.search(r"\berror\b|undefined reference|multiple definition|Killed", line)
    ]
    return re.sub(r"^\S*/", "", (errors or lines or ["the compiler said nothing"])[0])


def _system_include(folder: Path) -> tuple[str, str]:
    return ("-isystem", str(folder))  # no warnings from headers that are not ours


def _python_include() -> Path:
    return Path(sysconfig.get_path("include"))


def _install_compiler_command() -> str:
    for manager, command in {
        "apt-get": "sudo apt-get install g++",
        "dnf": "sudo dnf install gcc-c++",
        "pacman": "sudo pacman -S gcc",
        "apk": "sudo apk add g++",
    }.items():
        if shutil.which(manager):
            return command
    return "conda install -c conda-forge gxx"
