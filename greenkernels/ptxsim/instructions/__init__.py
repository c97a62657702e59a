"""The instruction set, by family. Importing this registers every handler."""

from . import arithmetic, bitwise, moves, transfers, warps
from .registry import handler_of, opcodes

__all__ = ["arithmetic", "bitwise", "handler_of", "moves", "opcodes", "transfers", "warps"]
