"""The bytes of a sparse weight in a state_dict: every dtype and encoding, and files that are none."""

import struct

import pytest
import torch
from csr_cases import make_weight

from greenkernels.nn import sparse_file


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("n", "k", "density"),
    [(1, 1, 1.0), (3, 0, 1.0), (0, 5, 1.0), (7, 13, 0.0), (40, 61, 0.5), (40, 61, 0.02), (3, 2000, 0.001)],
)
def test_comes_back_as_it_was(n, k, density, dtype):
    csr = make_weight(n, k, density, dtype).to_sparse_csr()
    parts = csr.crow_indices(), csr.col_indices(), csr.values()
    packed = sparse_file.encode(*parts, k)
    *back, columns = sparse_file.decode(packed)
    assert columns == k
    for got, want in zip(back, parts, strict=True):
        assert torch.equal(got, want)
        assert got.dtype == want.dtype


def test_takes_the_shorter_encoding():
    for density, encoding in ((0.5, 0), (0.02, 1)):
        csr = make_weight(100, 200, density).to_sparse_csr()
        packed = sparse_file.encode(csr.crow_indices(), csr.col_indices(), csr.values(), 200)
        assert packed[7] == encoding
        positions = 100 * 200 // 8 if encoding == 0 else csr.values().numel()
        # 36 bytes of header; gaps of 255 and more, about 1 in 200 at 2 % density, take a byte more.
        assert 0 <= packed.numel() - 36 - csr.values().numel() * 4 - positions <= positions // 50


def test_refuses_what_is_not_its_own():
    csr = make_weight(20, 30, 0.3).to_sparse_csr()
    packed = sparse_file.encode(csr.crow_indices(), csr.col_indices(), csr.values(), 30)
    for wrong in (torch.zeros(100, dtype=torch.uint8), packed[:20], torch.zeros(100)):
        with pytest.raises(ValueError, match="is not a sparse weight of greenkernels"):
            sparse_file.decode(wrong)
    newer = packed.clone()
    newer[4:6] = torch.tensor(list(struct.pack("<H", 2)), dtype=torch.uint8)
    with pytest.raises(ValueError, match="has format version 2; this greenkernels reads version 1"):
        sparse_file.decode(newer)
    for at in (8, 40, packed.numel() - 1):  # a size, a position, a value
        damaged = packed.clone()
        damaged[at] ^= 4
        with pytest.raises(ValueError, match="is damaged"):
            sparse_file.decode(damaged)
    with pytest.raises(ValueError, match="is damaged"):
        sparse_file.decode(packed[:-1])
    with pytest.raises(ValueError, match=r"values must be one of .*, got dtype=torch.int64"):
        sparse_file.encode(csr.crow_indices(), csr.col_indices(), csr.values().long(), 30)
