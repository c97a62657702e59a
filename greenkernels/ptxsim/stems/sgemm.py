"""sgemm on the simulated device."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..device import Device
from ..launching import Report
from ..simulation import Simulation

Array = NDArray[np.float32]

_LAUNCHER = (
    "_ZN12greenkernels4cuda5sgemmERKNS_9SgemmArgsIfEEPv"  # greenkernels::cuda::sgemm of csrc/api/sgemm.h
)

# In the order of the enumeration in csrc/api/activation.h.
ACTIVATIONS = (
    "none",
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "silu",
    "gelu",
    "sigmoid",
    "tanh",
    "hardswish",
    "hardsigmoid",
)


class _Arguments(ctypes.Structure):
    """SgemmArgs<float> of csrc/api/sgemm.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("a", "b", "packed", "bias", "out")),
        ("activation", ctypes.c_int),
        ("activation_param", ctypes.c_void_p),
        ("activation_params", ctypes.c_int64),
        ("beta", ctypes.c_float),
        *((name, ctypes.c_int64) for name in ("batch", "m", "n", "k")),
        *((name, ctypes.c_int64) for name in ("a_batch", "a_row", "a_depth", "b_batch", "b_row", "b_depth")),
        *((name, ctypes.c_int64) for name in ("out_batch", "out_row")),
    )


def sgemm(
    device: Device,
    a: Array,
    b: Array,
    out: Array,
    *,
    bias: Array | None = None,
    beta: float = 0.0,
    activation: str = "none",
    activation_param: Array | None = None,
) -> Sequence[Report]:
    """``out[x, i, j] = act(bias[j] + beta * out[x, i, j] + sum over d of a[x, i, d] * b[x, j, d])``, in place.

    Args:
        device: to run on.
        a: float32 [batch, m, k], any view of which the last or the one before has stride 1.
        b: float32 [batch, n, k], likewise.
        out: float32 [batch, m, n], rows contiguous.
        bias: float32 [n].
        beta: factor of the old out; with 0 that is not read.
        activation: a name of ``ACTIVATIONS``.
        activation_param: float32 [1] or [n], for leaky_relu and prelu.

    Returns:
        A report for each launch.

    Raises:
        PtxError: the launcher refused, or a detector found something.
    """
    (batch, m, k), n = a.shape, b.shape[1]
    steps = {
        name: stride // 4
        for view, names in ((a, ("a_batch", "a_row", "a_depth")), (b, ("b_batch", "b_row", "b_depth")))
        for name, stride in zip(names, view.strides, strict=True)
    }
    places = device.place({"a": a, "b": b, "bias": bias, "out": out, "activation_param": activation_param})
    arguments = _Arguments(
        **places,
        activation=ACTIVATIONS.index(activation),
        activation_params=0 if activation_param is None else len(activation_param),
        beta=beta,
        batch=batch,
        m=m,
        n=n,
        k=k,
        out_batch=out.strides[0] // 4,
        out_row=out.strides[1] // 4,
        **steps,
    )
    return device.call(_LAUNCHER, arguments)


SIZES = "MxNxK"  # what simulate() takes


def simulate(device: Device, sizes: tuple[int, ...]) -> Simulation:
    """One product of random matrices, a [m, k] and b [n, k], against float64.

    Raises:
        ValueError: ``sizes`` are not m, n and k.
    """
    if len(sizes) != 3:
        raise ValueError(f"sgemm: sizes must be {SIZES}, got {len(sizes)} of them")
    m, n, k = sizes
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((1, rows, k), dtype=np.float32) for rows in (m, n))
    out = np.full((1, m, n), np.nan, np.float32)
    reports = sgemm(device, a, b, out)
    exact = a[0].astype(np.float64) @ b[0].astype(np.float64).T
    error = float(np.linalg.norm(out[0] - exact) / np.linalg.norm(exact)) if exact.any() else 0.0
    return Simulation(tuple(reports), error, m * n * k)
