"""Launches: arguments, limits, waves of blocks, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .dtypes import dtype_of
from .errors import LaunchError, RaceError
from .execution import Execution
from .memory import GlobalMemory, Parameters, SharedMemory, place_buffers
from .program import Instruction, Kernel, Parameter, Vector
from .races import Order, Race, RaceDetector
from .scheduler import Scheduler
from .statistics import Statistics
from .wave import Shape, Wave

Argument = NDArray[np.generic] | np.generic | int | float | bytes

# Threads simulated at once: enough to hide the cost of an instruction in numpy, few enough for the cache.
_WAVE_THREADS = 4096
_MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Limits:
    """What a device accepts; the defaults hold for every GPU from compute capability 8.0 on."""

    threads: int = 1024  # of a block
    block: tuple[int, int, int] = (1024, 1024, 64)
    grid: tuple[int, int, int] = (2**31 - 1, 65535, 65535)
    shared_bytes: int = 99 << 10  # of a block; what 8.6 and 8.9 have, 8.0 and 9.0 have more
    static_shared_bytes: int = 48 << 10


@dataclass(frozen=True)
class Report:
    """What a launch did.

    Attributes:
        kernel: that was launched.
        shape: grid and block.
        statistics: counts by instruction, source line, opcode.
        races: that the detector found; empty where it was switched off, too.
    """

    kernel: Kernel
    shape: Shape
    statistics: Statistics
    races: tuple[Race, ...]

    def check(self) -> None:
        """Raises RaceError if there are races."""
        if self.races:
            raise RaceError("\n".join(map(str, self.races)))


def launch(
    kernel: Kernel,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    arguments: Sequence[Argument],
    *,
    dynamic_shared_bytes: int = 0,
    limits: Limits | None = None,
    races: bool = True,
) -> Report:
    """Runs a kernel on arrays, which it reads and writes in place.

    Args:
        kernel: of a parsed module.
        grid: blocks, x first; missing axes are 1.
        block: threads of a block, likewise.
        arguments: an array for a pointer, a number for a scalar, bytes for a structure.
        dynamic_shared_bytes: of each block, for ``extern __shared__``.
        limits: of the device.
        races: whether to look for races, which takes most of the time.

    Returns:
        Counts, and the races if there are any: ``report.check()`` raises them.

    Raises:
        UnsupportedPtx: the kernel needs what the simulator lacks.
        LaunchError: a GPU would not start it.
        PtxError: another detector found something; the message says where.
    """
    if len(arguments) != len(kernel.parameters):
        raise LaunchError(f"{kernel.name} takes {len(kernel.parameters)} arguments, got {len(arguments)}")
    arrays = {
        parameter.name: argument
        for parameter, argument in zip(kernel.parameters, arguments, strict=True)
        if isinstance(argument, np.ndarray)
    }
    buffers = place_buffers(arrays)
    addresses: dict[str, Argument] = {buffer.name: buffer.address for buffer in buffers}
    raw = {
        parameter.name: _bytes_of(parameter, addresses.get(parameter.name, argument))
        for parameter, argument in zip(kernel.parameters, arguments, strict=True)
    }
    memory = GlobalMemory(buffers)
    shape = Shape(_three(grid), _three(block))
    report = run(kernel, shape, raw, memory, dynamic_shared_bytes, limits or Limits(), races)
    memory.copy_back()
    return report


def run(
    kernel: Kernel,
    shape: Shape,
    parameters: dict[str, NDArray[np.uint8]],
    memory: GlobalMemory,
    dynamic_shared_bytes: int,
    limits: Limits,
    races: bool = True,
) -> Report:
    """Like ``launch``, on memory whose addresses the parameters already hold; leaves results in ``memory``."""
    check_limits(kernel, shape, dynamic_shared_bytes, limits)
    order, statistics = Order(shape), Statistics(kernel)
    found: dict[tuple[str, str, int], Race] = {}
    detectors = {}
    if races:
        detectors["global"] = RaceDetector("global", len(memory.bytes), _granule(kernel, "global"), order)
    step = max(1, _WAVE_THREADS // shape.threads)
    for first in range(0, shape.blocks, step):
        wave = Wave(kernel, shape, first, min(step, shape.blocks - first))
        shared = SharedMemory(kernel, dynamic_shared_bytes, wave.blocks)
        if races:
            size, granule = len(shared.bytes), _granule(kernel, "shared")
            detectors["shared"] = RaceDetector("shared", size, granule, order)
        execution = Execution(wave, (memory, shared, Parameters(parameters)), detectors, order, statistics)
        Scheduler(execution, _MOST_STEPS).run()
        for detector in detectors.values():
            found.update({(race.space, *key): race for key, race in detector.found.items()})
    return Report(kernel, shape, statistics, tuple(found.values()))


def check_limits(kernel: Kernel, shape: Shape, dynamic_shared_bytes: int, limits: Limits) -> None:
    """Raises LaunchError where a GPU would refuse the launch."""
    for name, sizes, most in (("grid", shape.grid, limits.grid), ("block", shape.block, limits.block)):
        if any(not 1 <= size <= limit for size, limit in zip(sizes, most, strict=True)):
            raise LaunchError(f"{name} must be at most {most} and at least 1 in each axis, got {sizes}")
    most_threads = min(limits.threads, kernel.max_threads or limits.threads)
    if shape.threads > most_threads:
        raise LaunchError(f"a block must have at most {most_threads} threads, got {shape.threads}")
    static = kernel.static_shared_bytes
    if static > limits.static_shared_bytes:
        raise LaunchError(f"static shared memory must be at most {limits.static_shared_bytes}, got {static}")
    if static + dynamic_shared_bytes > limits.shared_bytes:
        most = limits.shared_bytes
        raise LaunchError(f"shared memory must be at most {most} bytes, got {static + dynamic_shared_bytes}")


def _granule(kernel: Kernel, space: str) -> int:
    """1 if the kernel touches fewer than 4 bytes of a space at a time, else 4."""
    return 1 if any(_touches_bytes(instruction, space) for instruction in kernel.code) else 4


def _touches_bytes(instruction: Instruction, space: str) -> bool:
    if instruction.opcode not in ("ld", "st", "atom", "red") or "param" in instruction.modifiers:
        return False
    other = "shared" if space == "global" else "global"
    if any(part.partition("::")[0] == other for part in instruction.modifiers):
        return False
    items = sum(len(operand.items) for operand in instruction.operands if isinstance(operand, Vector))
    return dtype_of(instruction.type).itemsize * max(1, items) < 4


def _bytes_of(parameter: Parameter, argument: Argument) -> NDArray[np.uint8]:
    if isinstance(argument, bytes):
        raw = argument
    elif isinstance(argument, np.generic):
        raw = argument.tobytes()
    else:
        dtype = dtype_of(parameter.type)
        raw = np.array(argument).astype(dtype).tobytes()
    if len(raw) != parameter.size:
        raise LaunchError(f"argument {parameter.name} must have {parameter.size} bytes, got {len(raw)}")
    return np.frombuffer(raw, np.uint8)


def _three(sizes: int | Sequence[int]) -> tuple[int, int, int]:
    given = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    x, y, z = (*given, 1, 1, 1)[:3]
    return int(x), int(y), int(z)
