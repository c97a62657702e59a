"""Int8Conv2d with tile=2: Winograd's F(2x2, 3x3) in 8 bits, its norm, its copies, what it refuses and counts."""

import copy

import pytest
import torch
from conv_cases import COMPILE_BACKEND, make, needs_kernels
from torch import nn

from greenkernels.energy import count
from greenkernels.nn import Int8Conv2d
from greenkernels.planning.candidates import int8_conv2d as candidate

EPS = torch.finfo(torch.float32).eps


def stock_conv(**options):
    torch.manual_seed(0)
    return nn.Conv2d(40, 34, **({"kernel_size": 3, "padding": 1} | options)).eval()


@pytest.mark.parametrize("options", [{}, {"padding": "same", "bias": False}, {"padding_mode": "reflect"}])
def test_the_module_computes_what_the_stock_layer_does(options):
    stock, x = stock_conv(**options), make((2, 40, 11, 12))
    module = Int8Conv2d.from_module(stock, tile=2)
    with torch.inference_mode():
        expected = stock(x)
        assert (module(x) - expected).norm() < 0.03 * expected.norm()
        assert module(x).stride() == expected.stride()
        assert "tile=2" in repr(module)
        for twin in (copy.deepcopy(module), Int8Conv2d.from_module(stock_conv(**options), tile=2)):
            twin.load_state_dict(module.state_dict())
            assert torch.equal(twin(x), module(x))


@needs_kernels
def test_the_module_folds_a_batch_norm_and_compiles():
    stock, norm, x = stock_conv(), nn.BatchNorm2d(34).eval(), make((2, 40, 8, 8))
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight, -1, 1)
    bare, module = (Int8Conv2d.from_module(stock, tile=2) for _ in range(2))
    module.follow(norm)
    with torch.inference_mode():
        # One rounding more of scales and shifts, of terms below 20.
        torch.testing.assert_close(module(x), norm(bare(x)), rtol=1e-5, atol=20 * EPS)
        compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
        torch.testing.assert_close(compiled(x), module(x))


@pytest.mark.parametrize(
    ("options", "extra", "message"),
    [
        ({"stride": 2}, {}, r"stride must be \(1, 1\) for tile=2, got stride=\(2, 2\)"),
        ({"kernel_size": 1}, {}, r"kernel_size must be \(3, 3\) for tile=2"),
        ({}, {"input_range": (0, 1)}, "input_range and output_range must be None with tile=2"),
        ({}, {"tile": 4}, "tile must be None or 2, got 4"),
    ],
)
def test_the_module_refuses_what_tiles_lack(options, extra, message):
    with pytest.raises(ValueError, match=message):
        Int8Conv2d.from_module(stock_conv(**options), **{"tile": 2} | extra)


def test_counts_and_the_candidate():
    module = Int8Conv2d.from_module(stock_conv(), tile=2)
    counts = count(module, (1, 40, 8, 9)).counts
    assert counts.flops == 2 * 16 * (4 * 5) * 40 * 64  # 34 channels in two panels
    assert counts.dtype == "int8"
    assert candidate.options(stock_conv()) == [{}, {"tile": 2}]
    assert candidate.options(stock_conv(stride=2)) == [{}]
    extra = candidate.extra_bytes(stock_conv(), {"tile": 2}) - candidate.extra_bytes(stock_conv(), {})
    assert extra == module.taps.nbytes + module.tap_scale.nbytes
    assert not candidate.STEM.links({"tile": 2})
