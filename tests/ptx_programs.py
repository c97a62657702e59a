"""Small PTX programs for the tests of greenkernels.ptxsim: one line on arrays, or a whole body."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from greenkernels import ptxsim

_SIZES = {1: "u8", 2: "b16", 4: "b32", 8: "b64"}

EDGES = {
    "i": [0, 1, 2, 5, 31, 32, 33, 63, 64, 127, -1, -2, -128],
    "f": [0.0, -0.0, 1.0, -1.5, 2.5, 3.5, -2.5, 1e-30, 1e30, np.inf, -np.inf, np.nan, 0.1, 65504.0],
}


def samples(dtype: str, seed: int = 0, size: int = 96) -> NDArray[np.generic]:
    """``size`` values of a numpy type: the ends of its range, special ones, then random bits or normals."""
    rng, kind = np.random.default_rng(seed), np.dtype(dtype)
    if kind.kind == "f":
        values = np.concatenate([EDGES["f"], rng.standard_normal(size)])[:size]
        return rng.permutation(values).astype(kind)
    limits = np.iinfo(kind)
    edges = np.array([*EDGES["i"], limits.min, limits.max], object) & ((1 << 8 * kind.itemsize) - 1)
    bits = np.frombuffer(rng.bytes(size * kind.itemsize), f"u{kind.itemsize}").copy()
    bits[: len(edges)] = edges.astype(bits.dtype)
    return rng.permutation(bits).view(kind)


def module(body: str, parameters: str, target: str = "sm_80") -> str:
    """A PTX module with one kernel named ``kernel``."""
    return (
        f".version 8.0\n.target {target}\n.address_size 64\n"
        f".visible .entry kernel({parameters})\n{{\n{body}\n}}\n"
    )


def kernel(body: str, parameters: str) -> ptxsim.Kernel:
    return ptxsim.parse(module(body, parameters)).find("kernel")


def evaluate(lines: str, inputs: list[NDArray[np.generic]], result: str) -> NDArray[np.generic]:
    """Runs ``lines`` once a thread, on inputs ``%i0``, ``%i1``, ... of one element a thread.

    Args:
        lines: PTX that leaves its result in ``%o``; ``%p0`` to ``%p3``, ``%x0`` to ``%x3`` (32 bits) are free.
        inputs: arrays of one length.
        result: numpy type of the result.
    """
    out = np.zeros(len(inputs[0]), result)
    arrays = [*inputs, out]
    body = [
        ".reg .pred %p<4>;",
        ".reg .b32 %x<4>;",
        ".reg .b32 %t;",
        ".reg .b64 %a<2>;",
        "mov.u32 %t, %tid.x;",
    ]
    for number, array in enumerate(inputs):
        body.append(f".reg .{_register(array)} %i{number};")
        body += _address(number, array)
        body.append(f"ld.global.{_SIZES[array.itemsize]} %i{number}, [%a0];")
    body += [f".reg .{_register(out)} %o;", lines, *_address(len(inputs), out)]
    body += [f"st.global.{_SIZES[out.itemsize]} [%a0], %o;", "ret;"]
    parameters = ", ".join(f".param .u64 p{number}" for number in range(len(arrays)))
    ptxsim.launch(kernel("\n".join(body), parameters), 1, len(out), arrays).check()
    return out


def _register(array: NDArray[np.generic]) -> str:
    return f"b{max(16, 8 * array.itemsize)}"  # PTX has no registers of 8 bits


def _address(number: int, array: NDArray[np.generic]) -> list[str]:
    return [
        f"ld.param.u64 %a0, [p{number}];",
        f"mul.wide.u32 %a1, %t, {array.itemsize};",
        "add.s64 %a0, %a0, %a1;",
    ]
