"""Denormal numbers are zero inside the kernel, where each would cost a microcode assist, and nowhere else."""

import pytest
import torch

from greenkernels.ops import winograd_conv2d


@pytest.mark.parametrize("tile", [2, 4, 6])
def test_denormal_products_are_zero(isa, tile):
    if isa == "plain-torch":
        pytest.skip("torch keeps denormals")
    # Products of 1e-41, at most 100 times that after the transforms: below 1.2e-38, the smallest normal number.
    x, weight = torch.full((1, 8, 9, 9), 1e-21), torch.full((8, 8, 3, 3), 1e-20)
    assert torch.count_nonzero(winograd_conv2d(x, weight, padding=1, tile=tile)) == 0


def test_the_rest_of_the_process_keeps_its_denormals():
    winograd_conv2d(torch.ones(4, 8, 40, 40), torch.ones(8, 8, 3, 3), padding=1)
    tiny = torch.full((100_000,), 1e-40)  # large enough for all threads of the pool
    assert (tiny * 0.5 > 0).all()
