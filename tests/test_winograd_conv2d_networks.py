"""Errors on trained weights and the maps that a real photo makes of them, layer by layer, within the derived bound."""

import pytest
import torch
from torch import Tensor, nn
from winograd_cases import TILES, assert_close, reference, tolerance

from greenkernels.ops import winograd_conv2d
from greenkernels.zoo.networks import demosaicnet
from greenkernels.zoo.wheels import FetchError

CROP = (..., slice(40, 161), slice(90, 221))  # 121 x 131 pixels: odd maps, tiles that stick out


@pytest.fixture(scope="module")
def layers() -> list[tuple[str, Tensor, nn.Conv2d, Tensor]]:
    """Name, input, layer and float64 output of every 3x3 convolution of demosaicnet on a photo."""
    try:
        job = demosaicnet.job()
    except FetchError as error:
        pytest.skip(f"the public network cannot be had: {error}")
    found, handles = [], []
    for name, module in job.network.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):

            def keep(module: nn.Conv2d, args: tuple[Tensor, ...], _output: Tensor, name: str = name) -> None:
                exact = reference(args[0], module.weight, module.bias, padding=1)
                found.append((name, args[0].clone(), module, exact))

            handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        job.network(job.inputs[0][CROP])
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("tile", TILES)
def test_demosaicnet_layers_stay_within_the_bound(layers, isa, tile):
    assert len(layers) == 16
    for name, x, layer, expected in layers:
        with torch.no_grad():
            out = winograd_conv2d(x, layer.weight, layer.bias, padding=1, tile=tile)
        assert_close(out, expected, tolerance(expected, x, layer.weight, tile, layer.bias), name)
