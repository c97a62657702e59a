"""Does `gk.plan` ever choose a sparse kernel that is slower than the dense layer? Around the points of break-even.

    python bench/pruning/never_slower.py [--sizes 512,2048] [--batches 1,16] [--zeros 0.5,0.6] [--threads 1] [--convs]

Each case is a network of one pruned layer: planned, then timed beside the stock one in turns, on fresh timings. A line
a case; exit status 1 where a plan that chose a sparse kernel is slower beyond noise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import greenkernels as gk
from greenkernels.measure.contender import Contender
from greenkernels.measure.turns import Schedule, take_turns

SPARSE = ("csr_matmul", "csr_conv2d")
TIMING = Schedule(rounds=11, budget_s=1.5)
MAPS = (
    (64, 64, 56, 3),
    (128, 128, 28, 3),
    (256, 64, 56, 1),
    (128, 512, 28, 1),
)  # channels in and out, size, filter


def pruned(layer: nn.Module, zeros: float) -> nn.Module:
    """A network of this layer alone, with that share of zeros."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.weight[torch.rand(layer.weight.shape, generator=generator) < zeros] = 0
    return nn.Sequential(layer).eval()


def cases(arguments: argparse.Namespace) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Name, network, input."""
    for zeros in numbers(arguments.zeros):
        for size in map(int, numbers(arguments.sizes)):
            for batch in map(int, numbers(arguments.batches)):
                name = f"{size} to {size}, batch {batch}, {zeros:.0%} zeros"
                yield name, pruned(nn.Linear(size, size), zeros), torch.randn(batch, size)
        for in_c, out_c, size, kernel in MAPS if arguments.convs else ():
            conv = nn.Conv2d(in_c, out_c, kernel, padding=kernel // 2)
            name = f"{kernel}x{kernel}, {in_c} to {out_c}, {size}x{size}, {zeros:.0%} zeros"
            yield name, pruned(conv, zeros), torch.randn(1, in_c, size, size)


def numbers(words: str) -> list[float]:
    return [float(word) for word in words.split(",") if word]


def is_slower(name: str, network: nn.Module, x: Tensor) -> bool:
    """Plans and times one case, and prints what came out."""
    plan = gk.plan(network, x, cache=False, progress=False)
    (layer,) = plan.layers
    if layer.kernel not in SPARSE:
        print(f"{name}: {layer.kernel} ({layer.reason})", flush=True)
        return False
    contenders = [Contender("stock", network, keep=True), Contender("plan", plan.apply(network))]
    said = take_turns(contenders, (x,), TIMING, twin="stock").compare("stock", "plan")
    times = f"{said.baseline.value * 1e3:.3g} ms -> {said.contender.value * 1e3:.3g} ms"
    print(f"{name}: {layer.kernel}, {times}, {said.verdict}", flush=True)
    return said.verdict == "slower"


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="512,2048", help="outputs and inputs of linear layers")
    parser.add_argument("--batches", default="1,8,16,64,256")
    parser.add_argument("--zeros", default="0.3,0.4,0.5,0.6,0.7,0.9")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--convs", action="store_true", help="convolutions too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    slower = [name for name, network, x in cases(arguments) if is_slower(name, network, x)]
    print(f"slower: {'; '.join(slower)}" if slower else "no plan with a sparse kernel is slower")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
