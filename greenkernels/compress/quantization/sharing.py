"""share: all weights of a layer become a few numbers, which are then trained on; each weight keeps the place of one."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...nn import CodebookLinear, Int8Conv2d
from ...nn.codebook_weights import find_codebook, group_steps, nearest, to_table
from ..conversion import copy_pruned
from ..layers import Layers, apply_masks, prunable
from .quantizing import PRUNED

BITS = (2, 4)
VALUES = ("k-means", "power-of-two")


def share(
    model: nn.Module, bits: int = 4, *, values: str = "k-means", group: int = 0, layers: Layers = None
) -> nn.Module:
    """A copy in which each Linear and Conv2d layer has ``2^bits`` different weights, ready to be trained on.

    ``weight[j, d] = step[j, d // group] * codebook[index[j, d]]``. The Parameter that is trained is the codebook, one a
    layer: the gradient of an entry is the sum over the weights that share it. `finish_shared` then makes layers of it
    that store ``bits`` a weight.

    Args:
        model: in eval mode; it is not changed. Masks become permanent; a layer with zeros keeps them, as one entry.
        bits: 2 or 4.
        values: "k-means", the entries that are nearest to the weights in the sum of squares, or "power-of-two", fixed
            ones that need no multiplier.
        group: inputs of an output of a Linear that share a step, its largest size: 32 to 1024, a power of two; 0 for
            one step in all.
        layers: names, or a function of name and module; None for all.

    Raises:
        ValueError: an argument is none of these.

    Sources: Han et al., "Deep Compression", ICLR 2016 (weight sharing, trained centroids); Zhou et al., "Incremental
    Network Quantization", ICLR 2017 (powers of two).
    """
    if bits not in BITS:
        raise ValueError(f"share: bits must be 2 or 4, got {bits}")
    if values not in VALUES:
        raise ValueError(f"share: values must be one of {', '.join(VALUES)}, got {values!r}")
    if group and group not in CodebookLinear.GROUPS:
        raise ValueError(f"share: group must be 0 or one of {CodebookLinear.GROUPS}, got {group}")
    model = apply_masks(copy_pruned(model))
    for module in prunable(model, layers).values():
        if type(module) in (nn.Linear, nn.Conv2d) and module.weight.numel():
            steps = group if isinstance(module, nn.Linear) else 0
            shared = SharedWeight(module.weight.detach().float(), bits, values, steps)
            parametrize.register_parametrization(module, "weight", shared, unsafe=True)
    return model


class SharedWeight(nn.Module):
    """Parametrization of a weight by a codebook, which is the Parameter beneath, and the place of each weight in it."""

    def __init__(self, weight: Tensor, bits: int, values: str, group: int) -> None:
        super().__init__()
        self.bits, self.group = bits, group
        rows = weight.flatten(1)
        step = self._steps(rows)
        scaled = rows / self._spread(step, rows.shape[1])
        holds_zero = float((scaled == 0).float().mean()) >= PRUNED
        if values == "power-of-two":
            codebook = powers_of_two(bits) * scaled.abs().amax().clamp_min(2.0**-126)
        else:
            codebook = find_codebook(scaled, 1 << bits, holds_zero)
        self.register_buffer("step", step)
        self.register_buffer("index", nearest(scaled, codebook).reshape(weight.shape))
        self.register_buffer("codebook", codebook, persistent=False)  # to begin with
        moves = torch.full_like(codebook, values == "k-means") * (codebook != 0 if holds_zero else 1)
        self.register_buffer("moves", moves)

    def _steps(self, rows: Tensor) -> Tensor:
        """bfloat16 numbers, ``[n, groups]``, or ``[1, 1]``."""
        return group_steps(rows, self.group) if self.group else rows.new_ones(1, 1)

    def _spread(self, step: Tensor, k: int) -> Tensor:
        return step.repeat_interleave(self.group, 1)[:, :k] if self.group else step

    def forward(self, codebook: Tensor) -> Tensor:
        """The weight."""
        held = codebook.detach()
        used = held + self.moves * (codebook - held)  # the gradient of what does not move is 0
        rows = used[self.index.flatten(1).long()]
        return (rows * self._spread(self.step, rows.shape[1])).reshape(self.index.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The Parameter that stands for the weight this was made of."""
        return self.codebook.clone()


@torch.no_grad()
def finish_shared(model: nn.Module) -> nn.Module:
    """A copy of what `share` gave, in eval mode, on layers that store the places alone.

    Linear layers become `CodebookLinear`; filters become `Int8Conv2d` with as many different integers. The codebook is
    rounded to 7 bits, as the kernel has it.
    """
    model = copy.deepcopy(model).eval()
    for name, module in list(model.named_modules()):
        if not parametrize.is_parametrized(module, "weight"):
            continue
        weight = module.parametrizations.weight
        if not isinstance(weight[0], SharedWeight):
            continue
        new = _finished(module, weight[0], weight.original.detach())
        if not name:
            return new
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, new)
    return model


def _finished(module: nn.Module, shared: SharedWeight, codebook: Tensor) -> nn.Module:
    table, unit = to_table(codebook)
    bias = None if module.bias is None else module.bias.detach()
    if isinstance(module, nn.Linear):
        group = shared.group or _whole_group(module.in_features)
        groups = -(-module.in_features // group)
        scale = (shared.step * unit).expand(module.out_features, groups).contiguous()
        return CodebookLinear.from_codebook(shared.index, table, scale, bias, group=group)
    names = ("stride", "padding", "dilation", "groups", "padding_mode")
    geometry = {name: getattr(module, name) for name in names}
    integers = table[shared.index.long()]
    return Int8Conv2d.from_int8(integers, unit.expand(len(integers)), bias, **geometry).eval()


def _whole_group(in_features: int) -> int:
    """The largest group that fills up the depth by no more than a group of 32 would, or the smallest."""
    depth = -(-in_features // 32) * 32
    return max((g for g in CodebookLinear.GROUPS if -(-depth // g) * g == depth), default=32)


def powers_of_two(bits: int) -> Tensor:
    """``2^bits`` ascending numbers in [-1, 1]: 0, and 2^0, 2^-1, ... on both sides down to 1/32; zeros fill it up."""
    sizes = [2.0**-i for i in range(min(6, (1 << bits) // 2 - 1))]
    entries = [*sizes, *(-size for size in sizes)]
    return torch.tensor(sorted([*entries, *[0.0] * ((1 << bits) - len(entries))]))
