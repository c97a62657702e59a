"""scipy's product of a sparse weight in CSR form, its rows shared out over threads: scipy itself uses one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import pairwise

import torch
from torch import Tensor

from ...contender import Contender
from .. import CannotRun, LinearTask, Rival, installed
from ..task import weights_of

NAME = "scipy CSR"
GET = "pip install scipy"
LEAST_ZEROS = 0.3  # of the weight: below it a dense product is the only sensible one


def build(task: LinearTask) -> Contender:
    """A chunk of rows a thread, each with as many nonzeros; scipy lets go of Python's lock in its product."""
    tensors = weights_of(task)
    weight, bias = tensors["weight"], tensors.get("bias")
    zeros = float((weight == 0).double().mean()) if weight.numel() else 0.0
    if zeros < LEAST_ZEROS:
        raise CannotRun(f"is driven for weights with {LEAST_ZEROS:.0%} zeros and more, not {zeros:.0%}")
    csr = import_module("scipy.sparse").csr_matrix(weight.numpy())
    threads, rows = torch.get_num_threads(), csr.shape[0]
    ends = [int(csr.indptr.searchsorted(csr.nnz * (i + 1) / threads)) for i in range(threads - 1)]
    bounds = [0, *(min(end, rows) for end in ends), rows]
    chunks = [csr[begin:end] for begin, end in pairwise(bounds)]
    pool = ThreadPoolExecutor(threads)

    def call(x: Tensor) -> Tensor:
        columns = x.reshape(-1, x.shape[-1]).numpy().T
        parts = list(pool.map(lambda chunk: chunk @ columns, chunks)) if threads > 1 else [csr @ columns]
        out = torch.cat([torch.from_numpy(part) for part in parts]).T
        out = out if bias is None else out + bias
        return out.reshape(*x.shape[:-1], rows)

    flags = f"CSR, rows shared out over {threads} threads"
    return Contender(NAME, call, version=installed("scipy", GET), flags=flags)


RIVALS = (
    Rival(
        name=NAME,
        about="scipy.sparse in CSR form, for weights with many zeros, rows shared out over threads",
        tasks=(LinearTask,),
        version=lambda: installed("scipy", GET),
        build=build,
        get=GET,
    ),
)
