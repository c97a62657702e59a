"""Served: numpy's matrix product, on the OpenBLAS that it brings along. Threads: OPENBLAS_NUM_THREADS at the start."""

import numpy as np


def load(spec, arrays, threads):
    a = np.asarray(arrays["input0"])
    version = f"numpy {np.__version__}, {_blas()}"
    if spec["kind"] == "matmul":
        b = np.asarray(arrays["input1"])
        return version, lambda: np.matmul(a, b)
    weight = np.asarray(
        arrays["weight"]
    )  # [out_features, in_features]; numpy hands BLAS the transpose as a flag
    bias = np.asarray(arrays["bias"]) if "bias" in arrays else None
    a = a.reshape(-1, a.shape[-1])

    def linear():
        out = np.matmul(a, weight.T)
        if bias is not None:
            np.add(out, bias, out=out)
        return out

    return version, linear


def _blas():
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"
