"""quantize: the layers of a trained network in integers of few bits, rounded with or without looking at inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ...nn import Int4Linear, Int8Conv2d, Int8Linear
from ...nn.int4_weights import quantize_groups
from ...nn.int8_weights import quantize_weight
from ..conversion import copy_pruned
from ..layers import Layers, apply_masks, prunable
from .grids import Grid, find_grid
from .ranges import RANGES
from .second_order import round_second_order
from .seen import Seen, look_at_inputs

BITS = (4, 8)
PRUNED = 0.01  # share of exact zeros from which they stay zeros: training makes none
ROUNDINGS = ("nearest", "second-order")


def quantize(
    model: nn.Module,
    bits: int = 8,
    *,
    batches: Iterable[Any] | None = None,
    rounding: str = "nearest",
    correct_bias: bool = False,
    inputs: str = "dynamic",
    group: int = 64,
    layers: Layers = None,
) -> nn.Module:
    """A copy whose ``nn.Linear`` and ``nn.Conv2d`` multiply by integers: `Int8Linear`, `Int4Linear`, `Int8Conv2d`.

    Weights of 8 bits have a step for each output, of 4 bits one for each ``group`` of inputs of an output; filters of
    convolutions have one for each output channel, and with 4 bits are 4-bit integers on the 8-bit kernel. Inputs have
    8 bits in any case. Layers of other classes stay as they are.

    Args:
        model: in eval mode; it is not changed. Masks of pruning become permanent in the copy.
        bits: of the weights, 4 or 8.
        batches: what to look at where that is asked for: arguments of calls, tensors or tuples.
        rounding: "nearest", or "second-order", which makes the error of the outputs small rather than that of the
            weights: see `round_second_order`. Needs batches.
        correct_bias: whether to add to the bias what rounding takes off the mean output. Needs batches.
        inputs: "dynamic", a step for each row or image of each call, or the name of a way to find the ends of a fixed
            grid from batches, as in `find_grid`.
        group: of 4 bits: 32, 64 or 128.
        layers: names, or a function of name and module; None for all.

    Raises:
        ValueError: an argument is none of these, batches are missing, or a layer cannot be replaced; the message says
            which and why.

    Sources: Jacob et al., CVPR 2018; Frantar et al., "GPTQ", ICLR 2023; Nagel et al., "Data-Free Quantization", ICCV
    2019, for the correction of the bias.
    """
    if bits not in BITS:
        raise ValueError(f"quantize: bits must be 4 or 8, got {bits}")
    if rounding not in ROUNDINGS:
        raise ValueError(f"quantize: rounding must be one of {', '.join(ROUNDINGS)}, got {rounding!r}")
    if inputs != "dynamic" and inputs not in RANGES:
        raise ValueError(f"quantize: inputs must be 'dynamic' or one of {', '.join(RANGES)}, got {inputs!r}")
    model = apply_masks(copy_pruned(model)).eval()
    chosen = {n: m for n, m in prunable(model, layers).items() if type(m) in (nn.Linear, nn.Conv2d)}
    looks = rounding != "nearest" or correct_bias or inputs != "dynamic"
    if looks and batches is None:
        raise ValueError("quantize: batches must be given for this, got None")
    seen = look_at_inputs(model, chosen, batches, gram=rounding != "nearest") if looks else {}
    for name, module in chosen.items():
        try:
            values, scale = _rounded(module, bits, group, seen.get(name) if rounding != "nearest" else None)
            bias = _corrected(module, values, scale, group, seen[name]) if correct_bias else module.bias
            options = {} if inputs == "dynamic" else {"input_range": _input_range(seen[name], inputs)}
            new = build(module, values, scale, bias, bits, group, options)
        except ValueError as problem:
            raise ValueError(f"quantize: {name or 'the layer'}: {problem}") from problem
        if not name:
            return new
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, new)
    return model


def by_groups(module: nn.Module, bits: int) -> bool:
    """Whether the weight has a step for each group of inputs: that of a Linear of less than 8 bits."""
    return isinstance(module, nn.Linear) and bits < 8


def build(
    module: nn.Module,
    values: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    bits: int,
    group: int,
    options: dict[str, Any],
) -> nn.Module:
    """The layer that multiplies by these integers in the place of ``module``."""
    bias = None if bias is None else bias.detach().float()
    if by_groups(module, bits):
        return Int4Linear.from_int4(values, scale, bias, group=group)
    if isinstance(module, nn.Linear):
        return Int8Linear.from_int8(values, scale, bias, **options).eval()
    names = ("stride", "padding", "dilation", "groups", "padding_mode")
    geometry = {name: getattr(module, name) for name in names}
    return Int8Conv2d.from_int8(values, scale, bias, **geometry, **options).eval()


def _rounded(module: nn.Module, bits: int, group: int, seen: Seen | None) -> tuple[Tensor, Tensor]:
    """Integers of the weight's shape, and their scales; by what was seen, or to the nearest."""
    weight = module.weight.detach().float()
    if not weight.isfinite().all():
        raise ValueError("weight must be finite, got NaN or infinite values")
    if by_groups(module, bits):
        values, scale = quantize_groups(weight, group)
        grid = Grid(scale, torch.zeros_like(scale), bits, group)
    elif bits == 8:
        values, scale = quantize_weight(weight)
        grid = Grid(scale, torch.zeros_like(scale), bits)
    else:
        grid = find_grid(weight, bits, ends="squares")
        values, scale = grid.to_integers(weight), grid.scale
    if seen is None or getattr(module, "groups", 1) != 1 or not seen.rows:
        return values, scale
    kept = weight.flatten(1) != 0
    pruned = float((~kept).float().mean()) >= PRUNED
    values = round_second_order(weight.flatten(1), grid, seen.gram, kept if pruned else None)
    values = values.reshape(weight.shape)
    return (values.clamp_min(-127) if bits == 8 else values), scale


def _corrected(module: nn.Module, values: Tensor, scale: Tensor, group: int, seen: Seen) -> Tensor | None:
    """The bias with what rounding takes off the mean output added."""
    if getattr(module, "groups", 1) != 1 or not seen.rows:
        return module.bias
    rounded = Grid(scale, torch.zeros_like(scale), 8, group if scale.dim() == 2 else 0).to_floats(values)
    lost = (module.weight.detach().float() - rounded).flatten(1) @ seen.mean
    return lost if module.bias is None else module.bias.detach() + lost


def _input_range(seen: Seen, how: str) -> tuple[float, float]:
    if not seen.rows:
        raise ValueError("batches must reach the layer")
    if how == "largest":  # of all values, not of the sample
        low, high = seen.low, seen.high
    else:
        low, high = map(float, RANGES[how](torch.cat(seen.values)[None], 8, False))
    return min(0.0, low), max(0.0, high)
