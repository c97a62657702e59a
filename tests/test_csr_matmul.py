"""csr_matmul against float64 on ragged shapes, every packed layout and every instruction set."""

import pytest
import torch
from csr_cases import SHAPES, expected, make, make_weight

import greenkernels as gk
from greenkernels.ops import csr_packing
from greenkernels.ops.csr_matmul_op import pack_plain, packed_plain

BATCHES = (1, 16, 32, 64)  # one for each layout that is chosen


@pytest.mark.parametrize(("m", "n", "k", "density"), SHAPES)
@pytest.mark.parametrize("with_bias", [False, True])
def test_matches_float64(m, n, k, density, with_bias, isa):
    crow, col, values, x, bias, weight = make(m, n, k, density)
    bias = bias if with_bias else None
    want, bound = expected(x, weight, bias)
    out = gk.ops.csr_matmul(crow, col, values, x, bias=bias)
    assert out.shape == want.shape
    assert ((out - want).abs() <= bound).all()


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("m", "n", "k", "density"), SHAPES)
def test_any_layout_takes_any_batch(m, n, k, density, batch, isa):
    crow, col, values, x, bias, weight = make(m, n, k, density)
    packed = gk.ops.csr_matmul_pack(crow, col, values, k, batch=batch)
    out = gk.ops.csr_matmul_packed(x, packed, bias, out_features=n, nnz=values.numel(), batch=batch)
    want, bound = expected(x, weight, bias)
    assert ((out - want).abs() <= bound).all()


@pytest.mark.parametrize(("m", "n", "k", "density"), [*SHAPES, (2, 9, 70000, 0.01)])
@pytest.mark.parametrize("batch", BATCHES)
def test_packed_bytes_are_those_of_plain_torch(m, n, k, density, batch):
    weight = make_weight(n, k, density)
    csr = weight.to_sparse_csr()
    indices = csr.crow_indices(), csr.col_indices()
    packed = gk.ops.csr_matmul_pack(*indices, csr.values(), k, batch=batch)
    assert torch.equal(packed, pack_plain(*indices, csr.values(), k, batch))
    back = csr_packing.unpack(packed, n, k, csr.values().numel(), batch, torch.float32)
    for got, want in zip(back[:3], (*indices, csr.values()), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("batch", BATCHES)
def test_packed_plain_torch_matches_the_kernel(batch):
    crow, col, values, x, bias, weight = make(33, 67, 513, 0.5)
    packed = gk.ops.csr_matmul_pack(crow, col, values, 513, batch=batch)
    want, bound = expected(x, weight, bias)
    out = packed_plain(x, packed, bias, 67, values.numel(), batch)
    assert ((out - want).abs() <= bound).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    crow, col, values, x, bias, weight = make(33, 67, 300, 0.2, dtype)
    want, bound = expected(x, weight, bias)
    out = gk.ops.csr_matmul(crow, col, values, x, bias=bias)
    assert out.dtype == dtype
    assert ((out - want).abs() <= bound).all()


def test_takes_batches_of_any_rank_and_stride():
    crow, col, values, _, bias, weight = make(1, 40, 50, 0.3)
    for x in (torch.randn(50), torch.randn(2, 3, 50), torch.randn(50, 7).T, torch.randn(1, 50).expand(5, 50)):
        out = gk.ops.csr_matmul(crow, col, values, x, bias=bias)
        want, bound = expected(x.reshape(-1, 50), weight, bias)
        assert out.shape == (*x.shape[:-1], 40)
        assert ((out.reshape(-1, 40) - want).abs() <= bound).all()
    shifted = torch.randn(3 * 50 + 1)[1:].view(3, 50)
    assert torch.equal(
        gk.ops.csr_matmul(crow, col, values, shifted), gk.ops.csr_matmul(crow, col, values, shifted.clone())
    )


def test_takes_int32_indices_as_torch_makes_them():
    crow, col, values, x, bias, _ = make(5, 40, 50, 0.3)
    assert torch.equal(
        gk.ops.csr_matmul(crow.int(), col.int(), values, x, bias=bias),
        gk.ops.csr_matmul(crow, col, values, x, bias=bias),
    )


@pytest.mark.parametrize("m", [1, 40, 128, 200])
def test_threads_change_no_bit(m):
    crow, col, values, x, bias, _ = make(m, 300, 700, 0.1)
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(gk.ops.csr_matmul(crow, col, values, x, bias=bias))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_what_is_not_stored_skips_nan_and_what_is_does_not(isa):
    weight = torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    csr = weight.to_sparse_csr()
    x = torch.tensor([[float("nan"), 1.0, float("inf")]]).expand(20, 3)
    for rows in (1, 20):
        out = gk.ops.csr_matmul(csr.crow_indices(), csr.col_indices(), csr.values(), x[:rows])
        assert (out[:, 0] == 2).all()
        assert out[:, 1].isnan().all()
