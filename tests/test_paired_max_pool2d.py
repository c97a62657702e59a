"""PairedMaxPool2d: the numbers and the gradient of nn.MaxPool2d, what it refuses, its counts."""

import copy
import pickle

import pytest
import torch
from torch import nn

from greenkernels.energy import count
from greenkernels.nn import PairedMaxPool2d


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (3, 5, 7, 9), (2, 4, 28, 28), (0, 3, 4, 4), (5, 6, 8)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_gives_the_same_numbers(shape, channels_last):
    x = torch.randn(shape)
    if channels_last and x.dim() == 4:
        x = x.to(memory_format=torch.channels_last)
    stock = nn.MaxPool2d(2)
    if x.numel():
        x[..., 0, 0] = float("nan")
        x[..., -1, -1] = -float("inf")
    out = PairedMaxPool2d.from_module(stock)(x)
    assert torch.equal(out.nan_to_num(7), stock(x).nan_to_num(7))
    assert out.shape == stock(x).shape


@pytest.mark.parametrize("shape", [(2, 3, 1, 8), (2, 3, 8, 1), (8, 8)])
def test_refuses_what_the_stock_layer_refuses(shape):
    for layer in (nn.MaxPool2d(2), PairedMaxPool2d()):
        with pytest.raises(RuntimeError):
            layer(torch.randn(shape))


def test_gradients_go_where_those_of_the_stock_layer_go():
    x = torch.zeros(1, 1, 4, 4)
    grads = []
    for module in (nn.MaxPool2d(2), PairedMaxPool2d()):
        own = x.clone().requires_grad_()
        module(own).sum().backward()
        grads.append(own.grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernel_size": 3}, r"kernel_size must be \(2, 2\), got kernel_size=3"),
        ({"kernel_size": 2, "stride": 1}, r"stride must be \(2, 2\), got stride=1"),
        ({"kernel_size": 2, "padding": 1}, r"padding must be \(0, 0\), got padding=1"),
        ({"kernel_size": 2, "dilation": 2}, r"dilation must be \(1, 1\), got dilation=2"),
        ({"kernel_size": 2, "ceil_mode": True}, "ceil_mode must be False, got ceil_mode=True"),
        ({"kernel_size": 2, "return_indices": True}, "return_indices must be False"),
    ],
)
def test_refuses_other_windows(options, said):
    with pytest.raises(ValueError, match=said):
        PairedMaxPool2d.from_module(nn.MaxPool2d(**options))
    with pytest.raises(ValueError, match="type must be"):
        PairedMaxPool2d.from_module(nn.AvgPool2d(2))


def test_copies_pickles_goes_back_and_counts():
    module, x = PairedMaxPool2d(), torch.randn(2, 3, 8, 6)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module.to_module()):
        assert torch.equal(other(x), module(x))
    assert type(module.to_module()) is nn.MaxPool2d
    counts = count(module, (2, 3, 8, 6)).counts
    assert counts.flops == 3 * 2 * 3 * 4 * 3
