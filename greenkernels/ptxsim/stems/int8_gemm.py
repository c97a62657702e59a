"""int8_gemm on the simulated device."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..device import Device
from ..launching import Report
from ..simulation import Simulation
from .sgemm import ACTIVATIONS

Array = NDArray[np.generic]

# greenkernels::cuda::int8_gemm of csrc/api/int8_gemm.h
_LAUNCHER = "_ZN12greenkernels4cuda9int8_gemmERKNS_16Int8CudaGemmArgsEPv"


class _Epilogue(ctypes.Structure):
    """Int8Epilogue of csrc/api/int8_gemm.h."""

    _fields_ = (
        ("col_scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("activation", ctypes.c_int),
        ("activation_param", ctypes.c_void_p),
        ("activation_params", ctypes.c_int64),
        ("out_scale", ctypes.c_float),
        ("out_zero_point", ctypes.c_int32),
        ("skip", ctypes.c_void_p),
        ("skip_scale", ctypes.c_float),
    )


class _Arguments(ctypes.Structure):
    """Int8CudaGemmArgs of csrc/api/int8_gemm.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("a", "b", "b_sums", "row_scale")),
        ("row_scales", ctypes.c_int64),
        ("zero_point", ctypes.c_void_p),
        ("zero_points", ctypes.c_int64),
        ("epilogue", _Epilogue),
        ("out", ctypes.c_void_p),
        ("input", ctypes.c_int),
        ("output", ctypes.c_int),
        *((name, ctypes.c_int64) for name in ("m", "n", "k")),
    )


def int8_gemm(
    device: Device,
    a: Array,
    b: NDArray[np.int8],
    out: Array,
    *,
    row_scale: NDArray[np.float32] | None = None,
    col_scale: NDArray[np.float32] | None = None,
    zero_point: NDArray[np.int32] | None = None,
    bias: NDArray[np.float32] | None = None,
    activation: str = "none",
    activation_param: NDArray[np.float32] | None = None,
) -> Sequence[Report]:
    """``out[i, j] = act(row_scale[i] * col_scale[j] * sum over d of (a[i, d] - zero_point[i]) b[j, d] + bias[j])``.

    Args:
        device: to run on.
        a: int8 or uint8 [m, k].
        b: int8 [n, k].
        out: int32 [m, n] for the sums alone, or float32 [m, n]; written in place.
        row_scale: float32 [1] or [m]; of a float out.
        col_scale: float32 [n]; of a float out.
        zero_point: int32 [1] or [m].
        bias: float32 [n].
        activation: a name of ``ACTIVATIONS``.
        activation_param: float32 [1] or [n], for leaky_relu and prelu.

    Returns:
        A report for each launch.

    Raises:
        PtxError: the launcher refused, or a detector found something.
    """
    sums = None if zero_point is None else b.sum(axis=1, dtype=np.int32)
    whole = {"a": a, "b": b, "b_sums": sums, "row_scale": row_scale, "zero_point": zero_point, "out": out}
    ends = {"col_scale": col_scale, "bias": bias, "activation_param": activation_param}
    places = device.place({**whole, **ends})
    epilogue = _Epilogue(
        **{name: places[name] for name in ends},
        activation=ACTIVATIONS.index(activation),
        activation_params=_length(activation_param),
    )
    arguments = _Arguments(
        **{name: places[name] for name in whole},
        row_scales=_length(row_scale),
        zero_points=_length(zero_point),
        epilogue=epilogue,
        input=0 if a.dtype == np.uint8 else 1,  # Int8Input
        output=1 if out.dtype == np.float32 else 0,  # Int8Output
        m=a.shape[0],
        n=b.shape[0],
        k=a.shape[1],
    )
    return device.call(_LAUNCHER, arguments)


SIZES = "MxNxK"  # what simulate() takes


def simulate(device: Device, sizes: tuple[int, ...]) -> Simulation:
    """One product of random integers, int8 [m, k] and [n, k], with scales and bias, against float64.

    Raises:
        ValueError: ``sizes`` are not m, n and k.
    """
    if len(sizes) != 3:
        raise ValueError(f"int8_gemm: sizes must be {SIZES}, got {len(sizes)} of them")
    m, n, k = sizes
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-128, 128, (rows, k), dtype=np.int8) for rows in (m, n))
    rows, columns, bias = (rng.random(size, dtype=np.float32) for size in (m, n, n))
    out = np.full((m, n), np.nan, np.float32)
    reports = int8_gemm(device, a, b, out, row_scale=rows, col_scale=columns, bias=bias)
    exact = (
        rows[:, None].astype(np.float64) * columns * (a.astype(np.float64) @ b.T.astype(np.float64)) + bias
    )
    error = float(np.linalg.norm(out - exact) / np.linalg.norm(exact)) if exact.any() else 0.0
    return Simulation(tuple(reports), error, m * n * k)


def _length(array: Array | None) -> int:
    return 0 if array is None else len(array)
