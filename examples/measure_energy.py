"""Joules of a network: by a counter of this machine if there is one, else by the model, and what they depend on.

    python examples/measure_energy.py

Prints where joules can be read here and why not elsewhere, a table of a network's layers, the joules of one call of the
stock and of the converted network in turns, calls from a battery, and joules of an epoch of training.
"""

from __future__ import annotations

import sys

import torch
from torch import nn

import greenkernels as gk


def network() -> nn.Sequential:
    """A small convolutional network."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
    )


def measure_inference(net: nn.Module, image: torch.Tensor, seconds: float) -> None:
    """Stock and converted, in turns; measured where a counter can be read, else modelled."""
    fast = nn.Sequential(*net).eval()
    fast[2] = gk.nn.WinogradConv2d.from_module(net[2])
    with torch.no_grad():
        found = gk.energy.compare(
            {"stock": lambda: net(image), "winograd": lambda: fast(image)}, min_seconds=seconds, trials=2
        )
    for name, one in found.items():
        if one.energy_j is None:
            print(f"{name}: no joules: {one.reason}")
            continue
        e = one.energy_j
        interval = f"[{e.low * 1e3:.3g}, {e.high * 1e3:.3g}]"
        print(f"{name}: {e.value * 1e3:.3g} mJ a call {interval}, {e.kind.value} by {one.source}")
        print(f"  {gk.energy.per_wh(e).value:.3g} calls from a watt-hour, {one.edp_js.value:.3g} J s")
        print(f"  {one.reason}")


def measure_training(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """An epoch of four steps."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    meter = gk.energy.TrainingMeter(source="model")
    with meter:
        for batch, target in zip(images.split(2), labels.split(2), strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(batch), target).backward()
            optimizer.step()
            meter.step()
    epoch = meter.epochs[0]
    told = f"{epoch.energy_j.value:.3g} J {epoch.energy_j.kind.value}" if epoch.energy_j else epoch.reason
    print(f"an epoch of {epoch.steps} steps: {told}")


def main(seconds: float = 5.0) -> None:
    for name, why_not in gk.energy.sources().items():
        print(f"{name}: {why_not or 'can be read'}")
    net, images = network().eval(), torch.randn(8, 3, 64, 64)
    print(gk.energy.estimate(net, images[:1], hardware="server-cpu"))
    measure_inference(net, images[:1], seconds)
    measure_training(network(), images, torch.arange(8))


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
