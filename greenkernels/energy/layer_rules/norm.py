"""Normalisations: statistics where they are computed, then a scale and a shift."""

from __future__ import annotations

import math

from torch import nn

from ..counts import Call, Counts, rule

# Mean (1 addition), deviation (1), variance (a multiply-add), scaling (1): operations an element.
STATISTICS = 5
PER_GROUP = 4  # two divisions by the size, epsilon, 1 / sqrt


def normalized(call: Call, module: nn.Module, groups: int) -> Counts:
    """Statistics over `groups` groups, then the affine part if the module has it."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    elements = math.prod(call.input)
    affine = (weight is not None) + (bias is not None)
    return call.work((STATISTICS + affine) * elements + PER_GROUP * groups, elements, (weight, bias))


@rule(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
def batch_norm(module: nn.BatchNorm2d, call: Call) -> Counts:
    """With running statistics a scale and a shift: 2 an element; to make them: 3 a channel, 2 more if affine.

    Scale = weight / sqrt(var + eps), shift = bias - mean * scale. Without running statistics as layer norm over
    channels; the update of running statistics in training adds 2 multiply-adds a channel, read and written.
    """
    channels, elements = module.num_features, math.prod(call.input)
    running = (module.running_mean, module.running_var)
    if not module.training and module.running_mean is not None:
        per_channel = 3 + 2 * module.affine  # epsilon, 1 / sqrt, mean * scale
        weights = (module.weight, module.bias, *running)
        return call.work(2 * elements + per_channel * channels, elements, weights)
    counts = normalized(call, module, channels)
    if not (module.training and module.track_running_stats):
        return counts
    update = call.work(2 * 2 * channels, 0, running, inputs=0)
    return counts + Counts(
        update.flops, update.bytes_read, update.weight_bytes, update.weight_bytes, call.name
    )


@rule(nn.LayerNorm)
def layer_norm(module: nn.LayerNorm, call: Call) -> Counts:
    return normalized(call, module, math.prod(call.input[: len(call.input) - len(module.normalized_shape)]))


@rule(nn.GroupNorm)
def group_norm(module: nn.GroupNorm, call: Call) -> Counts:
    return normalized(call, module, call.input[0] * module.num_groups)


@rule(nn.RMSNorm)
def rms_norm(module: nn.RMSNorm, call: Call) -> Counts:
    """A multiply-add for the sum of squares, a scaling, and the weight; a group: division, epsilon, 1 / sqrt."""
    elements = math.prod(call.input)
    groups = math.prod(call.input[: len(call.input) - len(module.normalized_shape)])
    return call.work((3 + module.elementwise_affine) * elements + 3 * groups, elements, (module.weight,))
