"""Training that feels the rounding: weights are rounded in each forward, gradients go through as if they were not."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..conversion import copy_pruned
from ..layers import Layers, prunable
from .grids import find_grid
from .quantizing import BITS, PRUNED, build, by_groups


def round_through(x: Tensor) -> Tensor:
    """``round(x)``, half to even, with the gradient of ``x``.

    Source: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", arXiv:1308.3432.
    """
    return x + (x.round() - x).detach()


class RoundedWeight(nn.Module):
    """Parametrization of a weight by its integers times steps, which are learned along with it or not.

    What is trained is a step over the one that was found: optimizers that take equal strides for all Parameters would
    move a step of 0.01 as far as a weight of 0.1.

    Source: Esser et al., "Learned Step Size Quantization", ICLR 2020: the gradient of a step is that of its rounded
    weights, divided by ``sqrt(weights of the step * largest integer)``.
    """

    def __init__(self, weight: Tensor, bits: int, group: int, learns: bool) -> None:
        super().__init__()
        self.group = group
        self.most = (1 << bits - 1) - 1
        self.least = -self.most if bits == 8 else -self.most - 1  # layers of 8 bits have no -128
        per = "group" if group else "channel"
        found = find_grid(weight, bits, per=per, group=group, ends="squares").scale
        self.register_buffer("found", found)
        self.relative = nn.Parameter(torch.ones_like(found), requires_grad=learns)
        zeros = weight.detach() == 0
        self.register_buffer("kept", ~zeros if float(zeros.float().mean()) >= PRUNED else None)

    def steps(self, weight: Tensor) -> Tensor:
        """The steps as the layer will have them: of groups as bfloat16 numbers."""
        each = weight[0].numel() if self.found.dim() == 1 else self.group
        slowed = self.relative * (each * self.most) ** -0.5
        step = (self.found * (slowed + (self.relative - slowed).detach())).abs().clamp_min(2.0**-126)
        return step + (step.bfloat16().float() - step).detach() if step.dim() == 2 else step

    def integers(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integers, as floats of the weight's shape, and the step of each."""
        step = self.steps(weight)
        if step.dim() == 2:
            step = step.repeat_interleave(self.group, 1)[:, : weight.shape[1]]
        step = step.reshape(*step.shape, *(1,) * (weight.dim() - step.dim()))
        weight = weight if self.kept is None else weight * self.kept
        return round_through((weight / step).clamp(self.least, self.most)), step

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight."""
        integers, step = self.integers(weight)
        return integers * step


class QuantizationAware(nn.Module):
    """A network whose Linear and Conv2d layers are rounded while it trains, in any training loop.

    ``forward`` is that of the network. Weights are rounded to ``bits``, with the steps of the least squared error to
    begin with, and inputs of the layers to 8 bits of each row or image, as the kernels do; gradients pass as if nothing
    was rounded. Zeros of pruned layers stay. `finished` gives the network in integers: it computes what this one does,
    up to the order of sums.

    Args:
        model: a copy of it is wrapped. Masks must be permanent (`apply_masks`).
        bits: of weights, 4 or 8.
        group: inputs of an output that share a step in Linear layers of 4 bits: 32, 64 or 128.
        learns_steps: whether steps are trained, too (learned step size), or stay as they are found.
        rounds_inputs: whether inputs are rounded too.
        layers: names, or a function of name and module; None for all.

    Raises:
        ValueError: bits are neither, or a layer has a mask or a parametrization.

    Sources: Jacob et al., CVPR 2018; Esser et al., "Learned Step Size Quantization", ICLR 2020.
    """

    def __init__(
        self,
        model: nn.Module,
        bits: int = 4,
        *,
        group: int = 64,
        learns_steps: bool = True,
        rounds_inputs: bool = True,
        layers: Layers = None,
    ) -> None:
        super().__init__()
        if bits not in BITS:
            raise ValueError(f"QuantizationAware: bits must be 4 or 8, got {bits}")
        self.model, self.bits, self.group = copy_pruned(model), bits, group
        chosen = prunable(self.model, layers)
        self.names = [name for name, module in chosen.items() if type(module) in (nn.Linear, nn.Conv2d)]
        for name in self.names:
            module = chosen[name]
            if "weight" not in module._parameters:
                raise ValueError(f"QuantizationAware: {name!r} must have no mask; call apply_masks before")
            rounded = RoundedWeight(
                module.weight, bits, group if by_groups(module, bits) else 0, learns_steps
            )
            parametrize.register_parametrization(module, "weight", rounded)
            if rounds_inputs:
                module.register_forward_pre_hook(_round_inputs)

    def forward(self, *arguments: Any) -> Any:
        """The network's."""
        return self.model(*arguments)

    @torch.no_grad()
    def finished(self) -> nn.Module:
        """The network with `Int8Linear`, `Int4Linear` and `Int8Conv2d` in the place of its layers, in eval mode."""
        model = copy.deepcopy(self.model).eval()
        for name in self.names:
            module = model.get_submodule(name)
            weight = module.parametrizations.weight
            integers, _ = weight[0].integers(weight.original)
            scale = weight[0].steps(weight.original)
            values = integers.to(torch.int8)
            new = build(module, values, scale, module.bias, self.bits, self.group, {})
            if not name:
                return new
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, new)
        return model


def _round_inputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """To 8 bits that hold the values of a row, or of an image, and 0, as the kernels round them."""
    x, *others = inputs
    where = (-1,) if isinstance(module, nn.Linear) else (-3, -2, -1)
    low, high = x.detach().amin(where, keepdim=True), x.detach().amax(where, keepdim=True)
    scale = ((high.clamp_min(0) - low.clamp_max(0)) / 255).clamp_min(2.0**-126)
    zero = torch.round(-low.clamp_max(0) / scale)
    steps = (round_through(x / scale) + zero).clamp(0, 255)
    return (steps - zero) * scale, *others
