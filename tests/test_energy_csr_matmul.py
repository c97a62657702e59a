"""Counts of csr_matmul against a count of what its kernel multiplies."""

from __future__ import annotations

import pytest
import torch
from conv_cases import needs_kernels
from csr_cases import make_weight
from torch import nn

from greenkernels.energy import count
from greenkernels.energy.tally import CountOperations, Tally
from greenkernels.nn import SparseLinear


def layer(dtype: torch.dtype = torch.float32, bias: bool = True) -> SparseLinear:
    stock = nn.Linear(130, 70, bias=bias, dtype=dtype).eval()
    with torch.no_grad():
        stock.weight.copy_(make_weight(70, 130, 0.1, dtype))
    return SparseLinear.from_module(stock, warn=False)


@pytest.mark.parametrize(("rows", "computed"), [(1, 1), (2, 2), (3, 16), (16, 16), (33, 48), (200, 208)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_of_the_module(rows: int, computed: int, dtype: torch.dtype) -> None:
    module, size = layer(dtype), dtype.itemsize
    counts = count(module, (rows, 130)).counts
    assert counts.flops == 2 * module.values.numel() * computed + rows * 70
    assert counts.bytes_written == rows * 70 * size
    assert counts.bytes_read == rows * 130 * size + counts.weight_bytes
    assert counts.weight_bytes >= module.values.numel() * (size + 2)
    assert counts.dtype == ("float64" if dtype == torch.float64 else "float32")


def test_an_input_it_does_not_take_is_none_with_the_reason() -> None:
    counted = count(layer(), (3, 7))
    assert counted.counts is None
    assert "input must be [..., 130], got [3, 7]" in counted.reason


@needs_kernels
@pytest.mark.parametrize("rows", [1, 20, 100])
def test_the_operation_counts_as_the_module_does(rows: int) -> None:
    module, x, tally = layer(), torch.randn(rows, 130), Tally()
    with torch.no_grad():
        module(x)  # packs its weight
        packs = [packed for _, packed in module._packs.values()]
        with CountOperations(tally.add, [*packs, module.bias]):
            module(x)
    assert tally.total == count(module, x.shape).counts
