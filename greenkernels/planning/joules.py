"""What the layers and the whole network cost in joules: modelled from counts and the time that was measured."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Size, nn

from ..energy import Counts, joules
from ..measure.provenance import Measurement
from .candidates import Stem, own_counts

Work = tuple[Counts, ...]  # of the modules that make up a layer; kept apart, for their types may differ

# A layer's weights come from memory at each call, as in any network that outgrows the caches; its maps stay where they
# fit.
ALL_WEIGHTS = 1 << 62

NOTHING = Counts(0, 0, 0, 0)  # whose energy is the static power alone


def on_cuda(module: nn.Module) -> bool:
    """Whether it has a parameter on a GPU."""
    return any(parameter.is_cuda for parameter in module.parameters())


def work_of(modules: Sequence[nn.Module | None], shapes: Sequence[Sequence[Size]]) -> Work | None:
    """Counts of modules that run one after the other, each with the shapes of its inputs; None if one is uncounted.

    On CUDA all are: the model of the energy is one of this machine's processor.
    """
    if any(on_cuda(module) for module in modules if module is not None):
        return None
    found = [
        own_counts(module, inputs)
        for module, inputs in zip(modules, shapes, strict=True)
        if module is not None
    ]
    return None if any(counts is None for counts in found) else tuple(found)


def work_of_replacement(
    stem: Stem,
    module: nn.Module,
    rest: Sequence[nn.Module | None],
    inputs: Sequence[Size],
    outputs: Sequence[Size],
) -> Work | None:
    """The same for a stand-in, and what follows it and is not fused."""
    own = None if on_cuda(module) else stem.counts(module, inputs)
    rest = work_of(rest, [outputs] * len(rest))
    return None if own is None or rest is None else (own, *rest)


def energy(work: Sequence[Counts] | None, time: Measurement | None) -> Measurement | None:
    """Modelled J of that work; with a time, static power included. None where something was not counted."""
    if work is None:
        return None
    try:
        parts = [joules(counts, network_weights=ALL_WEIGHTS) for counts in work]
        parts.append(joules(NOTHING, time))
    except ValueError:  # the table has no figure for this type
        return None
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
