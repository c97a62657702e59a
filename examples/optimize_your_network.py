"""Make a network of your own faster, keep within bounds that you set, and see what was done and why.

Run it as ``python examples/optimize_your_network.py``; replace `build` and `x` by your network and an input of the size
that it will see. Plan on the machine, and with the thread number, that it will run on, and with nothing else running.
"""

from __future__ import annotations

import torch
from torch import nn

import greenkernels as gk


def build() -> nn.Module:
    """A small network; in yours, load your weights here."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    ).eval()


def main() -> None:
    network, x = build(), torch.randn(1, 3, 96, 96)
    more_inputs = [torch.randn(1, 3, 96, 96) for _ in range(2)]
    with torch.inference_mode():
        label = int(network(x).argmax())

    plan = gk.plan(
        network,
        x,
        objective="latency",
        max_error=1e-4,  # of the output, relative, on x, on variations of it, and on more_inputs
        calibration=more_inputs,
        metric=lambda output: float(output.softmax(-1)[0, label]),  # confidence in the label of x
        max_drop=1e-3,
    )
    print(plan)

    fast = plan.apply(network)  # a copy; the network itself stays as it is
    with torch.inference_mode():
        difference = (fast(x) - network(x)).norm() / network(x).norm()
    print(f"relative difference here: {float(difference):.1e}")

    facts = gk.explain(fast).summary()
    print({name: facts[name] for name in ("layers", "replaced", "won", "speedup", "extra_bytes")})

    stock = gk.restore(fast)
    assert [type(layer) for layer in stock] == [type(layer) for layer in network]


if __name__ == "__main__":
    main()
