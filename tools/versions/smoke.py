"""What one installed wheel must do, in the environment of one Python and one torch. Prints a JSON object.

Each kernel against the same layer in float64; a network through plan, apply, save and load.
"""

from __future__ import annotations

import copy
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

import greenkernels as gk

EPS = torch.finfo(torch.float32).eps


def main() -> None:
    """Raises AssertionError for the first check that fails."""
    torch.manual_seed(0)
    print(json.dumps(facts() | {"largest error / bound": round(max(kernel_errors()), 3)} | network_facts()))


def facts() -> dict[str, str]:
    """The build in use, which is that of the wheel; the doctor agrees."""
    info = gk.info()
    doctor = subprocess.run(
        [sys.executable, "-m", "greenkernels", "doctor"], capture_output=True, text=True, check=False
    )
    assert info["kind"] == "ahead-of-time", info
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    return {"python": platform.python_version(), "torch": torch.__version__, "isa": info["isa"]}


def kernel_errors() -> list[float]:
    """For each kernel its largest error as a share of what rounding explains."""
    conv, image = nn.Conv2d(13, 17, 3, padding=1), torch.randn(2, 13, 19, 23)
    one, depth = nn.Conv2d(13, 17, 1), nn.Conv2d(13, 13, 3, padding=1, groups=13)
    linear, rows = nn.Linear(67, 33), torch.randn(5, 67)
    sparse = nn.Linear(67, 33)
    with torch.no_grad():
        sparse.weight *= torch.rand_like(sparse.weight) < 0.3
    exact = [  # stand-in, stock, input, amplification of rounding (docs/winograd_conv2d.md, docs/strassen_gemm.md)
        (gk.nn.WinogradConv2d.from_module(conv), conv, image, 17.0),
        (gk.nn.DirectConv2d.from_module(conv), conv, image, 1.0),
        (gk.nn.SparseConv2d.from_module(conv), conv, image, 1.0),
        (gk.nn.StrassenConv2d.from_module(one), one, image, 1.0),
        (gk.nn.DepthwiseConv2d.from_module(depth), depth, image, 1.0),
        (gk.nn.StrassenLinear.from_module(linear), linear, rows, 1.0),
        (gk.nn.SparseLinear.from_module(sparse), sparse, rows, 1.0),
    ]
    shares = [share(ours, stock, x, (x.shape[1] * 9 + 2) * EPS * grown) for ours, stock, x, grown in exact]
    # Inputs are rounded to 8 bits of their range, at most twice the largest value: half a step is 1/255 of that value.
    quantized = [(gk.nn.Int8Linear, linear, rows), (gk.nn.Int8Conv2d, conv, image)]
    quantized += [(gk.nn.Int4Linear, linear, rows), (gk.nn.CodebookLinear, linear, rows)]
    return shares + [
        share_of_quantized(kind.from_module(stock).eval(), stock, x) for kind, stock, x in quantized
    ]


def share(ours: nn.Module, stock: nn.Module, x: Tensor, relative: float) -> float:
    """Largest error over `relative` times the sum of the sizes of all products."""
    size = absolute(stock, x.abs().double())
    with torch.no_grad():
        error = (ours.eval()(x) - exact_of(stock, x)).abs()
    assert not ours.fallbacks, ours.fallbacks
    found = float((error / (relative * size.max())).max())
    assert found <= 1, (type(ours).__name__, found)
    return found


def share_of_quantized(ours: nn.Module, stock: nn.Module, x: Tensor) -> float:
    """The same against the weight that it keeps, with the input rounded to 8 bits."""
    kept = with_weight(stock, ours.weight.detach().float())
    bound = absolute(kept, torch.full_like(x, x.abs().max()).double()) * (1 / 255 + 128 * EPS)
    with torch.no_grad():
        error = (ours(x) - exact_of(kept, x)).abs()
    assert not ours.fallbacks, ours.fallbacks
    found = float((error / bound).max())
    assert found <= 1, (type(ours).__name__, found)
    return found


def exact_of(stock: nn.Module, x: Tensor) -> Tensor:
    return with_weight(stock, stock.weight.detach()).double()(x.double()).detach()


def absolute(stock: nn.Module, x: Tensor) -> Tensor:
    """The layer with the sizes of its weight and bias."""
    copy = with_weight(stock, stock.weight.detach().abs()).double()
    copy.bias.data.abs_()
    return copy(x).detach()


def with_weight(stock: nn.Module, weight: Tensor) -> nn.Module:
    """A copy of the layer with that weight."""
    found = copy.deepcopy(stock)
    found.weight = nn.Parameter(weight.clone().reshape(stock.weight.shape))
    return found


def network_facts() -> dict[str, object]:
    """Plan, apply, a step of training, save and load of a small network."""
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.Flatten()
    )
    net = net.append(nn.Linear(32 * 16 * 16, 10)).eval()
    x = torch.randn(2, 3, 16, 16)
    stock = copy.deepcopy(net)
    made = gk.plan(net, x, measure=False, cache=False, progress=False)
    fast = made.apply(net)
    replaced = [layer.stem for layer in made.replaced]
    assert replaced
    with torch.no_grad():
        expected = fast(x)
        assert float((expected - net(x)).abs().max()) <= 1e-4 * float(expected.abs().max())
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "net.safetensors"
            gk.save(fast, file)
            assert torch.equal(gk.load(stock, file)(x), expected)
    fast.train()(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fast.parameters())
    return {"replaced": len(replaced)}


if __name__ == "__main__":
    main()
