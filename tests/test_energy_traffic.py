"""Modelled bytes from memory against a simulation of caches under the real kernels, which bench/traffic.py recorded."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import greenkernels as gk
from greenkernels.energy import Counts, count, reuse
from greenkernels.energy.kernels import csr_conv2d, csr_matmul, strassen_gemm
from greenkernels.ops.csr_packing import packed_bytes

FILE = Path(__file__).resolve().parent.parent / "bench/traffic.json"
if not FILE.exists():
    pytest.skip("needs a checkout", allow_module_level=True)
RECORDED = json.loads(FILE.read_text())


def conv2d(cls: type, in_c: int, out_c: int, size: int, **options: int) -> Counts:
    module = cls(in_c, out_c, bias=False, device="meta", **options) if cls is not None else None
    return count(module, (1, in_c, size, size)).counts


def sparse(counting, shape: tuple[int, ...], n: int, k: int, step: int, **fields: object) -> Counts:
    """Of a module with only what its counting looks at; every ``step``-th element of a row is there."""
    nnz = sum(len(range(row % step, k, step)) for row in range(n))
    module = SimpleNamespace(values=torch.empty(nnz, device="meta"), bias=None, **fields)
    return counting(module, shape)


def modelled(kernel: str, s: list[int]) -> Counts:
    if kernel == "winograd_conv2d":
        return conv2d(gk.nn.WinogradConv2d, s[0], s[1], s[2], kernel_size=3, padding=1, tile=s[3])
    if kernel == "direct_conv2d":
        return conv2d(gk.nn.DirectConv2d, s[0], s[1], s[2], kernel_size=s[3], stride=s[4], padding=s[3] // 2)
    m, n, k = s[0], s[1], s[2]
    if kernel == "sgemm":
        streams = strassen_gemm.streams_of(m, n, k, 0, 4)
        return Counts(2 * m * n * k, 4 * (m * k + n * k), 4 * m * n, 4 * n * k, streams=streams)
    if kernel == "int8_gemm":
        layer = gk.nn.Int8Linear.from_module(torch.nn.Linear(k, n, bias=False))
        return count(layer, (m, k)).counts
    if kernel == "csr_matmul":
        return sparse(csr_matmul.count_module, (m, k), n, k, s[3], out_features=n, in_features=k)
    nnz = sum(len(range(row % s[3], s[0] * 9, s[3])) for row in range(s[1]))
    out = (1, s[1], s[2], s[2])
    packed = packed_bytes(s[1], s[0] * 9, nnz, csr_conv2d.CONV_BATCH, 4)
    maps = 4 * s[2] * s[2]
    streams = csr_conv2d.streams_of(out, s[0] * 9, nnz)
    return Counts(0, maps * s[0] + packed, maps * s[1], packed, streams=streams)


def test_at_least_ten_layers_of_six_kernels_are_recorded() -> None:
    layers = RECORDED["layers"]
    assert len(layers) >= 10
    assert len({layer["kernel"] for layer in layers}) >= 6


@pytest.mark.parametrize("layer", RECORDED["layers"], ids=lambda layer: f"{layer['kernel']}-{layer['sizes']}")
def test_modelled_bytes_from_memory_are_those_of_the_simulation(
    layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reuse, "l2_bytes", lambda: layer["l2_bytes"])
    counts = modelled(layer["kernel"], layer["sizes"])
    # The target that the model was made for: the caches of a processor are no better known than that.
    assert counts.moved(RECORDED["ll_bytes"]) == pytest.approx(layer["fetched_bytes"], rel=0.2)
