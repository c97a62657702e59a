"""Facts that belong to every number: the machine, the versions, and the exact source it was taken with."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

from .kernel_sources import kernel_facts
from .threads import usable_cores

ASSUMED_CACHE = 32 << 20  # bytes, where the system does not tell
PACKAGE = Path(__file__).resolve().parent.parent

# Vector extensions worth telling apart; the rest of the CPU's flags is noise in a results file.
VECTOR_FLAGS = frozenset(
    {
        *("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"),
        *("avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"),
        *("asimd", "asimddp", "i8mm", "bf16", "sve"),
    }
)


def checkout() -> Path | None:
    """Root of the source checkout that this package runs from; None for an installed package."""
    root = PACKAGE.parent
    return root if (root / "csrc" / "api").is_dir() and (root / "bench").is_dir() else None


def cpu_facts() -> dict[str, object]:
    """Name, vector flags, cores that this process may use, caches in bytes (None where unknown)."""
    info = _cpuinfo()
    flags = (info.get("flags") or info.get("Features") or "").split()
    return {
        "name": info.get("model name") or platform.processor() or platform.machine(),
        "family_model": f"{info.get('cpu family', '?')}/{info.get('model', '?')}",
        "flags": [flag for flag in flags if flag in VECTOR_FLAGS],
        "cores": usable_cores(),
        "caches_bytes": _caches(),
        "hypervisor": "hypervisor" in flags,
    }


def cold_bytes() -> int:
    """Bytes to touch until nothing of what came before is in a cache: 4 times the last level of them.

    Where the system tells no cache size, 32 MiB is taken for it. A virtual machine may tell the whole of a cache that
    it shares with others: a quarter of the memory that is free now is the most. Rows say what it came to.
    """
    last_level = max(_caches().values(), default=ASSUMED_CACHE)
    return min(4 * last_level, available_memory() // 4)


def available_memory() -> int:
    """Bytes that can be had without paging; where the system does not tell, 4 GiB."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return 4 << 30
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) << 10 if "MemAvailable" in lines else 4 << 30


def machine_facts() -> dict[str, object]:
    facts: dict[str, object] = {"cpu": cpu_facts(), "os": f"{platform.system()} {platform.release()}"}
    try:
        facts["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        facts["memory_bytes"] = None
    facts["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return facts


def version_facts() -> dict[str, object]:
    """Versions of everything that takes part, and the environment that steers it."""
    from importlib import metadata

    try:
        own = metadata.version("greenkernels")
    except metadata.PackageNotFoundError:
        own = None  # run from a checkout without being installed
    steering = ("GREENKERNELS_", "OMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "ATEN_CPU_", "LD_PRELOAD")
    return {
        "greenkernels": own,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "onednn": torch.backends.mkldnn.is_available(),
        "environment": {
            k: v
            for k, v in sorted(os.environ.items())
            if k.startswith(steering) and not k.endswith("_PYTHON")
        },  # without the paths of rivals' interpreters, which are the user's own
    }


def source_facts() -> dict[str, object]:
    """Commit, whether files differ from it, and the hashes of the kernels; each None outside of a checkout."""
    root = checkout()
    if root is None:
        return {"commit": None, "dirty": None, "csrc_hash": None, "stem_hashes": None}
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
        **kernel_facts(root),
    }


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _caches() -> dict[str, int]:
    """Cache sizes of the first core, by level ("L1d", "L2", ...)."""
    found: dict[str, int] = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            unit = {"K": 1 << 10, "M": 1 << 20}.get(size[-1], 1)
            found[f"L{level}" + ("d" if kind == "Data" else "")] = int(size.rstrip("KM")) * unit
    return found
