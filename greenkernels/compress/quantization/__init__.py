"""Few bits: grids and how their ends are found, rounding, training that feels it, codebooks."""

from .aware import QuantizationAware
from .equalization import equalize, smooth
from .grids import Grid, find_grid
from .quantizing import quantize
from .second_order import round_second_order
from .sharing import finish_shared, share

__all__ = [
    "Grid",
    "QuantizationAware",
    "equalize",
    "find_grid",
    "finish_shared",
    "quantize",
    "round_second_order",
    "share",
    "smooth",
]
