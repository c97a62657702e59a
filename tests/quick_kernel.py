"""A made-up kernel on a synthetic clock: planning without real times. Use the fixture quick_kernel."""

import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from synthetic_clock import SyntheticClock
from torch import nn

from greenkernels.energy import count
from greenkernels.planning import candidates, plan
from greenkernels.planning.candidates import Stem

STOCK_S = 0.010
COST_S = {2: 0.012, 4: 0.005, 6: 0.006}  # a call of the made-up kernel, by tile
ERROR = {2: 1e-7, 4: 1e-6, 6: 1e-3}  # what it adds to the output, relative


CLOCK = SyntheticClock(noise=0.01)  # so that intervals are real


class QuickConv2d(nn.Conv2d):
    """The made-up kernel: torch's convolution that claims to have taken COST_S, with a known error."""

    __module__ = "greenkernels.nn.quick"  # restore() gives back what comes from there

    @classmethod
    def from_module(cls, stock, tile, activation=None, activation_param=None):
        made = cls(
            stock.in_channels, stock.out_channels, 3, padding=stock.padding, bias=stock.bias is not None
        )
        made.weight, made.bias = stock.weight, stock.bias
        made.tile, made.activation = tile, activation
        return made.train(stock.training)

    def forward(self, x):
        # Few channels do not pay: the layer tests look for a loser.
        CLOCK.work(COST_S[self.tile] if self.in_channels >= 8 else 3 * STOCK_S)
        y = self._conv_forward(x, self.weight, self.bias) * (1 + ERROR[self.tile])
        return F.relu(y) if self.activation == "relu" else y

    def counts(self, shape):
        """A third of the operations of the stock layer."""
        whole = count(self.to_module() if self.activation is None else self.to_module()[0], shape).counts
        return replace(whole, flops=whole.flops // 3)

    def to_module(self):
        stock = nn.Conv2d(
            self.in_channels, self.out_channels, 3, padding=self.padding, bias=self.bias is not None
        )
        stock.weight, stock.bias = self.weight, self.bias
        return stock if self.activation is None else nn.Sequential(stock, nn.ReLU())


STEM = Stem(
    name="quick",
    replaces=nn.Conv2d,
    lossy=False,
    activations=frozenset(("relu",)),
    refuses=lambda m: None if (m.kernel_size, m.stride) == ((3, 3), (1, 1)) else f"stride={m.stride}",
    options=lambda m: [{"tile": tile} for tile in (2, 4, 6)],
    build=lambda m, options, act: QuickConv2d.from_module(m, **options, activation=act.kind if act else None),
    extra_bytes=lambda m, options: 0,
    cold_start=lambda m, shapes: {"tile": 4} if m.in_channels >= 8 else "too few channels",
)


@pytest.fixture
def quick_kernel(monkeypatch):
    """Only the made-up kernel is registered, and torch's convolution takes STOCK_S."""
    monkeypatch.setattr(candidates, "registered", lambda: (STEM,))
    monkeypatch.setitem(sys.modules, QuickConv2d.__module__, sys.modules[__name__])  # pickle looks there
    forward = nn.Conv2d.forward

    def slow_forward(self, x):
        CLOCK.work(STOCK_S)
        return forward(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", slow_forward)


def net(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers).eval()


def conv(in_c, out_c, **options):
    return nn.Conv2d(in_c, out_c, 3, **({"padding": 1} | options))


X = torch.randn(1, 8, 9, 11, generator=torch.Generator().manual_seed(1))
OPTIONS = {"clock": CLOCK, "progress": False, "cache": False}


def why(model, x=X, **options):
    """Layer name -> kernel, and layer name -> why it stays."""
    made = plan(model, x, **OPTIONS, **options)
    return {la.names[0]: la.kernel for la in made.layers}, {la.names[0]: la.reason for la in made.layers}
