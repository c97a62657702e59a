"""What greenkernels found on this machine, and which of its three states follows."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import _build, _jit, _nvcc, _toolchain
from ._build import BuildStatus
from ._jit import cache_dir
from ._toolchain import BuildError
from ._version import __version__
from .energy import sources

ENVIRONMENT = (
    "GREENKERNELS_ISA",
    "GREENKERNELS_JIT",
    "GREENKERNELS_BUILD_TIMEOUT",
    "GREENKERNELS_CACHE",
    "GREENKERNELS_CUDA",
    "GREENKERNELS_DISABLE",
    "GREENKERNELS_POWERCAP",
    "CXX",
    "CUDA_HOME",
)

PAGE = "docs/troubleshooting.md"  # a section for each finding

_MEANING = {
    "ahead-of-time": "compiled kernels, from the binary that was installed",
    "built-on-first-use": "compiled kernels, built on this machine and kept in the cache",
    "not-built-yet": "the first op call will compile the kernels, once",
    "plain-torch": "no compiled kernels: every op computes with plain torch, correct but not faster",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    name: str
    found: str
    ok: bool  # False where it stands in the way of compiled kernels, or is worth a look

    @property
    def section(self) -> str:
        """Anchor of its section on `PAGE`."""
        if self.name in ENVIRONMENT:
            return "environment"
        name = "joules" if self.name.startswith("joules by ") else self.name.lower()
        return re.sub(r"[^\w\- ]", "", name).replace(" ", "-")


@dataclass(frozen=True)
class Diagnosis:
    """The state, what it rests on, and the one command that mends it ("" where there is nothing to mend)."""

    status: BuildStatus
    findings: tuple[Finding, ...]
    mend: str

    @property
    def meaning(self) -> str:
        """The state in words."""
        return _MEANING[self.status.kind]

    @property
    def more(self) -> tuple[str, ...]:
        """Where to read on: sections for what is not well; () where there is nothing to mend."""
        if not self.mend and self.status.kind != "plain-torch":
            return ()
        return tuple(f"{PAGE}#{finding.section}" for finding in self.findings if not finding.ok)


def info() -> dict[str, Any]:
    """Which build of greenkernels is in use, for bug reports and logs.

    Returns:
        "version", "torch", "python", "kind" and "reason" (see ``BuildStatus``), "path" of the binary or None,
        "isa" and "isa_levels" (in use, and what this CPU has; None and [] on plain torch), "threads",
        "cache".
    """
    status = _build.status()
    return {
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "kind": status.kind,
        "reason": status.reason,
        "path": None if status.path is None else str(status.path),
        "isa": torch.ops.greenkernels.current_isa() if status.compiled else None,
        "isa_levels": torch.ops.greenkernels.isa_levels().split(",") if status.compiled else [],
        "threads": torch.get_num_threads(),
        "cache": str(cache_dir()),
    }


def diagnose(*, build: bool = False) -> Diagnosis:
    """Looks at everything that decides about compiled kernels.

    Args:
        build: compile them now if no binary is there, even if that failed before.
    """
    if build:
        _build.ensure_loaded(retry=True)
    elif _build.status().kind == "not-built-yet" and _cache_finding().ok:
        _build.ensure_loaded()  # only loads
    status = _build.status()
    isa = _isa_finding(status)
    findings = (
        Finding("greenkernels", f"{__version__} in {Path(__file__).parent}", True),
        Finding("Python", f"{platform.python_version()} on {sys.platform} {platform.machine()}", True),
        Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads", True),
        _binary_finding(),
        _tool_finding("C++ compiler", _toolchain.find_compiler),
        _tool_finding("ninja", _toolchain.find_ninja),
        Finding("nvcc", str(_nvcc.find_nvcc() or "not found"), True),
        Finding("CUDA kernels", _cuda_kernels(status), True),
        isa,
        _cache_finding(),
        *_energy_findings(),
        *(Finding(name, os.environ.get(name, "not set"), True) for name in ENVIRONMENT),
    )
    mend = status.mend if isa.ok else "unset GREENKERNELS_ISA"
    if status.kind == "ahead-of-time" and _is_stale():
        mend = f"{sys.executable} -m pip install --no-build-isolation -e {_toolchain.csrc().parent}"
    return Diagnosis(status, findings, mend)


def _energy_findings() -> list[Finding]:
    """Where joules could be read: no kernel needs them. The analytic model works everywhere and is left out."""
    return [
        Finding(f"joules by {name}", why_not or "can be read", True)
        for name, why_not in sources().items()
        if name != "model"
    ]


def _is_stale() -> bool:
    """Whether a source is newer than the binary: possible in a checkout alone."""
    if _toolchain.csrc().parent == Path(_build.__file__).parent:
        return False
    newest = max(path.stat().st_mtime for path in _toolchain.torch_extension().inputs())
    return newest > _build.AHEAD_OF_TIME.stat().st_mtime


def _binary_finding() -> Finding:
    path = _build.AHEAD_OF_TIME
    if not path.exists():
        return Finding("installed binary", f"none (looked for {path})", False)
    if _build.status().path != path:
        return Finding("installed binary", f"{path}, not loaded", False)
    if _is_stale():
        return Finding("installed binary", f"{path}, older than its sources", False)
    return Finding("installed binary", str(path), True)


def _tool_finding(name: str, find: Any) -> Finding:
    try:
        return Finding(name, str(find()), True)
    except BuildError as error:
        return Finding(name, error.cause, False)


def _cuda_kernels(status: BuildStatus) -> str:
    """What GPUs the binary is for. No kernel for them stands in nobody's way."""
    if not status.compiled:
        return "known once compiled kernels are loaded"
    if torch._C._dispatch_has_kernel_for_dispatch_key("greenkernels::sgemm", "CUDA"):
        return f"for compute capability {torch.ops.greenkernels.cuda_architectures()}"
    if _nvcc.find_nvcc() is None:
        return "none: there was no nvcc when the binary was built, and there is none now; torch's own ops run"
    return "none: the binary was built without nvcc; torch's own ops run until it is installed again"


def _isa_finding(status: BuildStatus) -> Finding:
    if not status.compiled:
        return Finding("instruction sets", "known once compiled kernels are loaded", True)
    try:
        facts = info()
    except ValueError as error:  # GREENKERNELS_ISA names a level that this CPU lacks: every op says the same
        return Finding("instruction sets", str(error), False)
    return Finding("instruction sets", f"{', '.join(facts['isa_levels'])}; in use: {facts['isa']}", True)


def _cache_finding() -> Finding:
    """Whether a build on first use is in the cache, and what is known of the last one that failed."""
    try:
        library = _toolchain.torch_extension()
        folder = _jit.entry(library)
    except BuildError:
        return Finding("cache", f"{cache_dir()}, not searched: no compiler", False)
    if _jit.cached(library):
        return Finding("cache", f"{folder}, built", True)
    if (folder / "failed").exists():
        return Finding("cache", f"{folder}, the build failed: {(folder / 'failed').read_text()}", False)
    return Finding("cache", f"{cache_dir()}, not built", False)
