"""``levels="auto"`` of strassen_gemm: a table of measured sizes on disk, and a rule for sizes that are not in it."""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from .. import _isa
from .._jit import cache_dir
from .strassen_gemm_op import gemm
from .strassen_packing import MAX_LEVELS

# Cold start: one level pays where products of half the size still fill the cache blocks of sgemm, a second one where
# it is done on sums in memory (docs/performance.md).
MIN_SIZES = (2048, 8192)
MARGIN = 1.02  # a level is taken where it is faster than levels=0 by more than this


def cold_start(m: int, n: int, k: int) -> int:
    """Levels for a size that was not measured."""
    return sum(min(m, n, k) >= size for size in MIN_SIZES)


def _file() -> Path:
    return cache_dir() / "strassen_gemm.json"


@cache
def _machine() -> str:
    from ..measure.machine import cpu_facts  # measure is built on ops

    return str(cpu_facts().get("model"))


def _key(m: int, n: int, k: int, dtype: torch.dtype) -> str:
    threads, level = torch.get_num_threads(), _isa.current()
    return f"{_machine()} {level} {threads} {str(dtype).removeprefix('torch.')} {m} {n} {k}"


@cache
def _read(path: Path) -> dict[str, int]:
    """The table on disk; what cannot be read is ignored with a warning."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): min(max(int(levels), 0), MAX_LEVELS) for key, levels in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError) as problem:
        warnings.warn(
            f"{path} cannot be read and is ignored ({problem})", category=RuntimeWarning, stacklevel=2
        )
        return {}


def choose_levels(m: int, n: int, k: int, dtype: torch.dtype = torch.float32) -> int:
    """Levels that ``levels="auto"`` takes for ``[m, k]`` times ``[n, k]`` at this number of threads."""
    if torch.compiler.is_compiling() or dtype == torch.float64:
        return cold_start(m, n, k) if dtype != torch.float64 else 0
    table = _read(_file())
    return table.get(_key(m, n, k, dtype), cold_start(m, n, k)) if table else cold_start(m, n, k)


def _time_levels(m: int, n: int, k: int, dtype: torch.dtype) -> dict[int, float]:
    """Median seconds of a call at each level, taken in turns."""
    a, b = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
    times: dict[int, list[float]] = {levels: [] for levels in range(MAX_LEVELS + 1)}
    with torch.inference_mode():
        for turn in range(8):
            for levels, taken in times.items():
                start = time.perf_counter()
                gemm(a, b, None, levels, None, None)
                if turn:  # the first call takes memory
                    taken.append(time.perf_counter() - start)
    return {levels: statistics.median(taken) for levels, taken in times.items()}


def tune_levels(
    m: int,
    n: int,
    k: int,
    dtype: torch.dtype = torch.float32,
    time_levels: Callable[[int, int, int, torch.dtype], dict[int, float]] = _time_levels,
) -> int:
    """Measures which number of levels is fastest for a size, keeps it on disk for ``levels="auto"``, and returns it.

    The entry holds for this CPU, instruction set, number of threads and dtype.

    Args:
        m, n, k: Sizes of ``a [m, k]`` and ``b [n, k]``.
        dtype: Of the operands.
        time_levels: Returns seconds a call by number of levels, 0 among them.

    Raises:
        OSError: The cache folder cannot be written to.
    """
    times = time_levels(m, n, k, dtype)
    best = min(times, key=times.__getitem__)
    levels = best if times[0] > MARGIN * times[best] else 0
    path = _file()
    table = {**_read(path), _key(m, n, k, dtype): levels}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{time.time_ns()}.tmp")
    temporary.write_text(json.dumps(table, indent=1), encoding="utf-8")
    temporary.replace(path)  # a reader finds a whole file
    _read.cache_clear()
    return levels
