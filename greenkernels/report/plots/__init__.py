"""Plots as SVG and PNG, one module each; the same data gives the same bytes. They need matplotlib (extra: demo)."""

from .break_even import break_even, crossing
from .canvas import Plot
from .energies import EnergyBar, energy_bars
from .errors import ErrorPoint, error_against_speed
from .layers import LayerBar, layer_bars
from .roofline import RooflinePoint, roofline
from .scaling import scaling
from .speedups import SpeedUp, speed_ups

__all__ = [
    "EnergyBar",
    "ErrorPoint",
    "LayerBar",
    "Plot",
    "RooflinePoint",
    "SpeedUp",
    "break_even",
    "crossing",
    "energy_bars",
    "error_against_speed",
    "layer_bars",
    "roofline",
    "scaling",
    "speed_ups",
]
