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
# On CUDA, counted and not timed (docs/strassen_gemm.md): a level of squares pays from 288 F / B on, F multiply-adds and
# B bytes a second; by data sheets from 1800 to 2900 with HBM (A100, H100), 5500 to 14500 without (3090, 4090, L4).
MIN_SIZES_HBM, MIN_SIZES_CUDA = (4096, 8192), (16384, 32768)
HBM = frozenset(((8, 0), (9, 0), (10, 0), (10, 3)))  # compute capabilities of GPUs with such memory
CPU = torch.device("cpu")
MARGIN = 1.02  # a level is taken where it is faster than levels=0 by more than this


def cold_start(m: int, n: int, k: int, device: torch.device = CPU) -> int:
    """Levels for a size that was not measured."""
    sizes = MIN_SIZES
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)  # torch.compile knows this function
        sizes = MIN_SIZES_HBM if (about.major, about.minor) in HBM else MIN_SIZES_CUDA
    return sum(min(m, n, k) >= size for size in sizes)


def _file() -> Path:
    return cache_dir() / "strassen_gemm.json"


@cache
def _machine() -> str:
    from ..measure.machine import cpu_facts  # measure is built on ops

    return str(cpu_facts().get("model"))


def _key(m: int, n: int, k: int, dtype: torch.dtype, device: torch.device) -> str:
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        where = f"{_machine()} {_isa.current()} {torch.get_num_threads()}"
    return f"{where} {str(dtype).removeprefix('torch.')} {m} {n} {k}"


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


def choose_levels(
    m: int, n: int, k: int, dtype: torch.dtype = torch.float32, device: torch.device = CPU
) -> int:
    """Levels that ``levels="auto"`` takes for ``[m, k]`` times ``[n, k]`` on this GPU, or at this number of threads."""
    if dtype == torch.float64:
        return 0
    table = {} if torch.compiler.is_compiling() else _read(_file())
    found = table.get(_key(m, n, k, dtype, device)) if table else None
    return cold_start(m, n, k, device) if found is None else found


def _time_levels(m: int, n: int, k: int, dtype: torch.dtype, device: torch.device = CPU) -> dict[int, float]:
    """Median seconds of a call at each level, taken in turns."""
    a, b = (torch.randn(rows, k, dtype=dtype, device=device) for rows in (m, n))
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times: dict[int, list[float]] = {levels: [] for levels in range(MAX_LEVELS + 1)}
    with torch.inference_mode():
        for turn in range(8):
            for levels, taken in times.items():
                wait()
                start = time.perf_counter()
                gemm(a, b, None, levels, None, None)
                wait()
                if turn:  # the first call takes memory
                    taken.append(time.perf_counter() - start)
    return {levels: statistics.median(taken) for levels, taken in times.items()}


def tune_levels(
    m: int,
    n: int,
    k: int,
    dtype: torch.dtype = torch.float32,
    time_levels: Callable[[int, int, int, torch.dtype], dict[int, float]] | None = None,
    device: torch.device | str = CPU,
) -> int:
    """Measures which number of levels is fastest for a size, keeps it on disk for ``levels="auto"``, and returns it.

    The entry holds for this CPU, instruction set, number of threads and dtype, or for this GPU and dtype.

    Args:
        m, n, k: Sizes of ``a [m, k]`` and ``b [n, k]``.
        dtype: Of the operands.
        time_levels: Returns seconds a call by number of levels, 0 among them; None for a clock.
        device: Where to multiply.

    Raises:
        OSError: The cache folder cannot be written to.
    """
    device = torch.device(device)
    times = time_levels(m, n, k, dtype) if time_levels else _time_levels(m, n, k, dtype, device)
    best = min(times, key=times.__getitem__)
    levels = best if times[0] > MARGIN * times[best] else 0
    path = _file()
    table = {**_read(path), _key(m, n, k, dtype, device): levels}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{time.time_ns()}.tmp")
    temporary.write_text(json.dumps(table, indent=1), encoding="utf-8")
    temporary.replace(path)  # a reader finds a whole file
    _read.cache_clear()
    return levels
