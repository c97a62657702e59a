"""A simulated device: calls the launchers of csrc/cuda, as torch would, and runs what they launch."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import PtxError
from .kernels import Kernels
from .launching import Limits, Report, run
from .memory import Buffer, GlobalMemory, place_buffers
from .wave import Shape

_LAUNCH_FAILURE = 719  # cudaErrorLaunchFailure
_LIMITS = Limits(
    shared_bytes=163 << 10
)  # of compute capability 8.0; csrc/sim/cudart.cpp has refused the rest

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_uint),
    ctypes.POINTER(ctypes.c_uint),
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_void_p),
)


class LauncherError(PtxError):
    """A launcher returned a status other than success; ``status`` is that cudaError_t."""

    def __init__(self, symbol: str, status: int) -> None:
        super().__init__(f"{symbol} returned status {status}")
        self.status = status


class Device:
    """Launchers, kernels, and the memory of the next call.

    Args:
        kernels: what was compiled.
        races: whether to look for races.
    """

    def __init__(self, kernels: Kernels, *, races: bool = True) -> None:
        self._module = kernels.module
        self._races = races
        self._library = ctypes.CDLL(str(kernels.library))
        self._buffers: list[Buffer] = []
        self._reports: list[Report] = []
        self._error: Exception | None = None
        self._callback = _Callback(self._launch)  # kept alive as long as the library may call it

    def place(self, arrays: dict[str, NDArray[np.generic] | None]) -> dict[str, int | None]:
        """Gives arrays device addresses, as one allocation each; kernels read and write them in place.

        Args:
            arrays: name -> array, or a view: the array that it is a view of becomes the allocation. None has no
                address. Nothing else can be touched by the next call.
        """
        owners = {name: _owner(array) for name, array in arrays.items() if array is not None and array.nbytes}
        self._buffers = place_buffers(owners)
        starts = {buffer.name: buffer.address - buffer.array.ctypes.data for buffer in self._buffers}
        return {
            name: starts[name] + array.ctypes.data if array is not None and name in starts else None
            for name, array in arrays.items()
        }

    def call(self, symbol: str, arguments: ctypes.Structure) -> Sequence[Report]:
        """Calls ``int symbol(const Arguments&, void* stream)``.

        Args:
            symbol: mangled name of the launcher.
            arguments: its argument structure, with the addresses of ``place`` in it.

        Returns:
            A report for each launch.

        Raises:
            LauncherError: the launcher returned an error of its own.
            PtxError: a detector found something, races included.
        """
        self._reports, self._error = [], None
        self._library.gk_sim_set_callback(self._callback)
        status = self._library[symbol](ctypes.byref(arguments), None)
        if self._error is not None:
            raise self._error
        if status != 0:
            raise LauncherError(symbol, status)
        for report in self._reports:
            report.check()
        return self._reports

    def _launch(self, name, grid, block, shared_bytes, arguments) -> int:
        try:
            kernel = self._module.kernels[name.decode()]
            parameters = {
                parameter.name: np.frombuffer(ctypes.string_at(arguments[number], parameter.size), np.uint8)
                for number, parameter in enumerate(kernel.parameters)
            }
            memory = GlobalMemory(self._buffers)
            shape = Shape(tuple(grid[:3]), tuple(block[:3]))
            report = run(kernel, shape, parameters, memory, shared_bytes, _LIMITS, self._races)
            memory.copy_back()
            self._reports.append(report)
        except Exception as error:  # must not pass through the launcher's C++: call() raises it
            self._error = error
            return _LAUNCH_FAILURE
        return 0


def _owner(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array whose memory a view is part of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
