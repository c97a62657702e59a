"""Equal ranges before rounding: factors that one layer gives and the next takes back, the network being the same."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..channels import calls_of, is_plain, path_from
from ..conversion import copy_pruned
from ..layers import apply_masks
from .seen import look_at_inputs

# f(s x) = s f(x) for s > 0, channel by channel.
PASSES = (
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
)
FUNCTIONS = (F.relu, torch.relu, F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, torch.flatten)
ROUNDS = 10  # over all pairs: a layer between two others belongs to two
LEAST = 1e-6  # of the largest weight of a channel: below it a channel is as good as not there


@torch.no_grad()
def equalize(model: nn.Module) -> nn.Module:
    """A copy that computes the same, in which the weights of two layers in a row have equal ranges for each channel.

    Channel i of the first is divided by ``s_i = sqrt(r1_i / r2_i)``, the inputs of the second multiplied, r being the
    largest weights. One step for a whole tensor then suits all channels. Pairs are layers between which only ReLU,
    leaky ReLU, pooling and flattening stand.

    Args:
        model: in eval mode; ``torch.fx.symbolic_trace`` must be able to follow it.

    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019.
    """
    model = apply_masks(copy_pruned(model))
    pairs = list(_pairs(model))
    for _ in range(ROUNDS):
        for first, second in pairs:
            given = first.weight.flatten(1).abs().amax(1)
            channels = second.weight.transpose(0, 1).reshape(len(given), -1)
            taken = channels.abs().amax(1)
            alive = (given > LEAST * given.amax()) & (taken > LEAST * taken.amax())
            _pass_on(first, second, torch.where(alive, (given / taken.clamp_min(1e-30)).sqrt(), 1.0))
    return model


def _pairs(model: nn.Module) -> Iterable[tuple[nn.Module, nn.Module]]:
    graph = fx.symbolic_trace(model).graph
    modules = dict(model.named_modules())
    for node in graph.nodes:
        first = modules.get(node.target) if node.op == "call_module" else None
        if not is_plain(first) or calls_of(graph, node.target) != 1:
            continue
        path = list(path_from(graph, node, modules, PASSES, FUNCTIONS))
        if len(path) == 1 and is_plain(path[0]):
            yield first, path[0]


def _pass_on(first: nn.Module, second: nn.Module, factor: Tensor) -> None:
    """Divides the outputs of the first and multiplies the inputs of the second."""
    first.weight /= factor.reshape(-1, *(1,) * (first.weight.dim() - 1))
    if first.bias is not None:
        first.bias /= factor
    pixels = second.weight.shape[1] // len(factor)
    second.weight *= factor.repeat_interleave(pixels).reshape(1, -1, *(1,) * (second.weight.dim() - 2))


@torch.no_grad()
def smooth(
    model: nn.Module,
    pairs: Iterable[tuple[str, Iterable[str]]],
    batches: Iterable[Any],
    *,
    strength: float = 0.5,
) -> nn.Module:
    """A copy that computes the same, with outliers of inputs moved into the weights that read them.

    Input j of the readers is divided by ``s_j = largest(x_j)^strength / largest(w_j)^(1 - strength)``, in the layer
    norm or Linear before them, and their columns j are multiplied.

    Args:
        model: in eval mode.
        pairs: name of a ``nn.LayerNorm`` or ``nn.Linear`` and the names of the ``nn.Linear`` that alone read what it
            gives, as it is.
        batches: arguments of calls, to see inputs on: tensors or tuples.
        strength: 0 leaves all to the inputs, 1 to the weights.

    Raises:
        ValueError: a name is not that of such a layer, or sizes do not fit.

    Source: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models",
    ICML 2023.
    """
    model = copy.deepcopy(model)
    named = [(name, tuple(readers)) for name, readers in pairs]
    layers = {reader: model.get_submodule(reader) for _, readers in named for reader in readers}
    for name, readers in named:
        source = model.get_submodule(name)
        _check_pair(name, source, {reader: layers[reader] for reader in readers})
    seen = look_at_inputs(model, layers, batches)
    for name, readers in named:
        largest = torch.stack([seen[reader].largest for reader in readers]).amax(0).clamp_min(1e-5)
        weights = torch.stack([layers[reader].weight.abs().amax(0) for reader in readers]).amax(0)
        factor = (largest**strength / weights.clamp_min(1e-5) ** (1 - strength)).clamp_min(1e-5)
        source = model.get_submodule(name)
        source.weight /= factor.reshape(-1, *(1,) * (source.weight.dim() - 1))
        if source.bias is not None:
            source.bias /= factor
        for reader in readers:
            layers[reader].weight *= factor
    return model


def _check_pair(name: str, source: nn.Module, readers: dict[str, nn.Module]) -> None:
    if not isinstance(source, (nn.LayerNorm, nn.Linear)) or getattr(source, "weight", None) is None:
        raise ValueError(
            f"smooth: {name!r} must be a LayerNorm or Linear with a weight, got {type(source).__name__}"
        )
    for reader, layer in readers.items():
        if not isinstance(layer, nn.Linear) or layer.in_features != len(source.weight):
            raise ValueError(
                f"smooth: {reader!r} must be a Linear of {len(source.weight)} inputs, got {type(layer).__name__}"
            )
