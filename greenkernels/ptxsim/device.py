"""A simulated device: runs the ops of csrc/cuda_ops on CPU tensors, and what they launch on the simulator."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..ops._library import SCHEMAS
from .kernels import Kernels
from .launching import Limits, Report, run
from .memory import Buffer, GlobalMemory
from .wave import Shape

NAMESPACE = "greenkernels_simulated"  # of torch.ops; csrc/cuda_ops/cuda_call.h names it too

_LAUNCH_FAILURE = 719  # cudaErrorLaunchFailure
_LIMITS = Limits(
    shared_bytes=163 << 10
)  # of compute capability 8.0; csrc/sim/cudart.cpp has refused the rest

_LaunchCallback = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_uint),
    ctypes.POINTER(ctypes.c_uint),
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_void_p),
)
_UseCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)


class Device:
    """Runs CUDA ops on CPU tensors.

    Args:
        kernels: what was compiled.
        races: whether to look for races.
        multiprocessors: by which launchers choose; kernels run alike with any number. 108 are those of an A100.

    Attributes:
        reports: one for each launch of the last call.
        multiprocessors: as given; may be changed.
    """

    def __init__(self, kernels: Kernels, *, races: bool = True, multiprocessors: int = 108) -> None:
        self.reports: list[Report] = []
        self._module = kernels.module
        self._races = races
        self.multiprocessors = multiprocessors
        self._library = _load(kernels.library)
        self._used: list[tuple[int, int]] = []  # first byte, and the one past the last
        self._error: Exception | None = None
        # Kept alive as long as the library may call them.
        self._callbacks = _LaunchCallback(self._launch), _UseCallback(self._use)

    def run(self, op: str, *args: Any, **kwargs: Any) -> Any:
        """Calls an op as ``torch.ops.greenkernels`` has it, with positional arguments.

        Args:
            op: such as "sgemm" or "sgemm.out".
            args: of its schema; tensors on the CPU. Kernels can touch no other memory than theirs.
            kwargs: likewise.

        Returns:
            What the op returns.

        Raises:
            PtxError: a detector found something, races included.
            RuntimeError: the op or its launcher refused.
        """
        self.reports, self._used, self._error = [], [], None
        self._library.gk_sim_set_device(*self._callbacks, self.multiprocessors)
        name, _, overload = op.partition(".")
        try:
            result = getattr(getattr(torch.ops, NAMESPACE), name).__getattr__(overload or "default")(
                *args, **kwargs
            )
        except RuntimeError as error:
            raise (self._error or error) from None
        for report in self.reports:
            report.check()
        return result

    def _use(self, data: int, size: int) -> None:
        self._used.append((data, data + size))

    def _launch(self, name, grid, block, shared_bytes, arguments) -> int:
        try:
            kernel = self._module.kernels[name.decode()]
            parameters = {
                parameter.name: np.frombuffer(ctypes.string_at(arguments[number], parameter.size), np.uint8)
                for number, parameter in enumerate(kernel.parameters)
            }
            memory = GlobalMemory(_buffers(self._used))
            shape = Shape(tuple(grid[:3]), tuple(block[:3]))
            report = run(kernel, shape, parameters, memory, shared_bytes, _LIMITS, self._races)
            memory.copy_back()
            self.reports.append(report)
        except Exception as error:  # must not pass through the launcher's C++: run() raises it
            self._error = error
            return _LAUNCH_FAILURE
        return 0


@lru_cache
def _load(library: Path) -> ctypes.CDLL:
    """The library with the ops, whose schemas are those of the real ones."""
    torch.ops.load_library(str(library))
    _library().define_all()
    return ctypes.CDLL(str(library))


@lru_cache
def _library() -> _Schemas:
    return _Schemas()


class _Schemas:
    """The schemas of all ops once more, in the namespace of the simulator."""

    def __init__(self) -> None:
        self._library = torch.library.Library(NAMESPACE, "DEF")
        self._defined = False

    def define_all(self) -> None:
        if not self._defined:
            for schema in SCHEMAS:
                self._library.define(schema)
        self._defined = True


def _buffers(used: list[tuple[int, int]]) -> list[Buffer]:
    """Memory at its real address; views that share some become one buffer."""
    merged: list[list[int]] = []
    for first, end in sorted(used):
        if merged and first < merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([first, end])
    return [
        Buffer(_bytes_at(first, end), first, f"{number} of this call")
        for number, (first, end) in enumerate(merged)
    ]


def _bytes_at(first: int, end: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * (end - first)).from_address(first))
