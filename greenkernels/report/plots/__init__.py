"""Plots as SVG and PNG, one module each; the same data gives the same bytes. They need matplotlib (extra: demo)."""

from .break_even import break_even, crossing
from .canvas import Plot
from .crossover import crossover, first_win
from .energies import EnergyBar, energy_bars
from .errors import ErrorPoint, error_against_speed
from .joules import JoulesPair, joules_a_call
from .layers import LayerBar, layer_bars
from .roofline import RooflinePoint, roofline
from .scaling import scaling
from .speedups import SpeedUp, speed_ups

__all__ = [
    "EnergyBar",
    "ErrorPoint",
    "JoulesPair",
    "LayerBar",
    "Plot",
    "RooflinePoint",
    "SpeedUp",
    "break_even",
    "crossing",
    "crossover",
    "energy_bars",
    "error_against_speed",
    "first_win",
    "joules_a_call",
    "layer_bars",
    "roofline",
    "scaling",
    "speed_ups",
]
