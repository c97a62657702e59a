"""Which opcodes and modifiers the simulator knows, and the function that executes each.

A modifier that a handler was not written for is refused, so that none is silently ignored.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UnsupportedPtx
from ..execution import Execution
from ..program import Instruction
from ..wave import Lanes

Handler = Callable[[Execution, Instruction, Lanes], None]

INTEGERS = "s16 s32 s64 u16 u32 u64"
FLOATS = "f32 f64"
BITS = "b16 b32 b64"

_HANDLERS: dict[str, tuple[Handler, frozenset[str]]] = {}


def executes(opcodes: str, modifiers: str) -> Callable[[Handler], Handler]:
    """Registers a handler.

    Args:
        opcodes: separated by blanks.
        modifiers: every dotted part that may follow, types included, separated by blanks.
    """

    def register(handler: Handler) -> Handler:
        for opcode in opcodes.split():
            _HANDLERS[opcode] = (handler, frozenset(modifiers.split()))
        return handler

    return register


def handler_of(instruction: Instruction) -> Handler:
    """The function that executes an instruction.

    Raises:
        UnsupportedPtx: there is none for its opcode, or not with its modifiers.
    """
    handler, known = _HANDLERS.get(instruction.opcode, (None, frozenset()))
    unknown = [part for part in instruction.modifiers if part not in known]
    if handler is None or unknown:
        why = f" (.{unknown[0]})" if handler is not None else ""
        raise UnsupportedPtx(f"not implemented{why}, at {instruction.source}: {instruction.text}")
    return handler


def opcodes() -> dict[str, frozenset[str]]:
    """Every opcode with a handler, and the modifiers that it takes."""
    return {opcode: modifiers for opcode, (_, modifiers) in sorted(_HANDLERS.items())}
