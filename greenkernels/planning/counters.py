"""Joules of whole networks by a counter of the hardware, where there is one, shared out over their layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from ..energy.backends import choose
from ..energy.per_call import compare
from ..measure.clock import Clock
from ..measure.provenance import Kind, Measurement
from .copying import copy_model
from .layout import run_channels_last
from .plans import LayerPlan, NetworkVerdict
from .quality import Inputs

TRIALS = 3  # of 5 s for each network, beside one of idling
STOCK, CONVERTED = "stock", "converted"


def put_measured_joules(
    network: NetworkVerdict,
    layers: Sequence[LayerPlan],
    networks: tuple[nn.Module, nn.Module],
    inputs: Inputs,
    clock: Clock,
) -> None:
    """Measures the stock and the converted network, and gives each layer its share; see the functions below."""
    modelled = replace(network)
    measure_networks(network, *networks, inputs, clock)
    if network.energy_source != modelled.energy_source:
        attribute(layers, modelled, network)


def measure_networks(
    network: NetworkVerdict, stock: nn.Module, converted: nn.Module, inputs: Inputs, clock: Clock
) -> None:
    """Puts measured joules of both networks in place of the modelled ones; changes nothing where no counter can read.

    Args:
        network: its times say which memory format the stock network is best in.
        stock, converted: the networks.
        inputs: of a call.
        clock: of the windows.
    """
    counter = choose(clock=clock)
    if counter.counts_work:
        return
    other, given = network.stock_channels_last, network.stock
    if other is not None and given is not None and other.value < given.value:
        stock = run_channels_last(copy_model(stock))
    args, kwargs = inputs
    found = compare(
        {STOCK: lambda: stock(*args, **kwargs), CONVERTED: lambda: converted(*args, **kwargs)},
        trials=TRIALS,
        source=counter.name,
        clock=clock,
    )
    if found[STOCK].energy_j is None or found[CONVERTED].energy_j is None:
        network.energy_note = f"{counter.name} says nothing: {found[STOCK].reason or found[CONVERTED].reason}"
        return
    network.energy_before, network.energy_after = found[STOCK].energy_j, found[CONVERTED].energy_j
    network.energy_source, network.uncounted = counter.name, ()  # a counter leaves no module out


def attribute(layers: Sequence[LayerPlan], modelled: NetworkVerdict, measured: NetworkVerdict) -> None:
    """Scales modelled joules of layers so that those of the whole become the measured ones, by their shares.

    Args:
        layers: changed in place; joules become of kind attributed, or None where the whole was not modelled.
        modelled, measured: J of the whole networks by either way.
    """
    before = _scale(modelled.energy_before, measured.energy_before)
    after = _scale(modelled.energy_after, measured.energy_after)
    for layer in layers:
        layer.energy_before = _scaled(layer.energy_before, before)
        layer.energy_after = _scaled(layer.energy_after, after)


def _scale(modelled: Measurement | None, measured: Measurement | None) -> float | None:
    if modelled is None or measured is None or not modelled.value:
        return None
    return measured.value / modelled.value


def _scaled(energy: Measurement | None, factor: float | None) -> Measurement | None:
    if energy is None or factor is None:
        return None
    value, low, high = (part * factor for part in (energy.value, energy.low, energy.high))
    return Measurement(value, "J", Kind.ATTRIBUTED, low, high)
