"""nvdisasm's listing -> the instructions of each kernel, its loops, and what the hottest of them is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass

_KERNEL = re.compile(r"^\.text\.(\S+):$")
_LABEL = re.compile(r"^(\.L_\S+):$")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P[0-9T]+\s+)?([A-Z][A-Z0-9_.]*)(.*)$")
_TARGET = re.compile(r"`\((\.L_\S+)\)")

_MULTIPLIES = re.compile(r"FFMA|IMMA|HMMA|QMMA|OMMA")
_MATRIX = re.compile(r"IMMA|HMMA|QMMA|OMMA")
_SHARED_LOAD = re.compile(r"LDS\b(?!M)|LDSM")
_WIDE_SHARED_LOAD = re.compile(r"LDS\.(?:U\.)?128|LDSM\.16\.(?:MT88|M88)\.4|LDSM\S*\.4")
_DIVERGENCE = re.compile(r"BRA\.DIV|CALL")
# An LDS whose guard is never true: nvcc puts a few of them before the first asynchronous copy.
_NEVER = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+@!PT\s")


@dataclass(frozen=True)
class Listing:
    """The instructions of one kernel, in order.

    Attributes:
        opcodes: with their modifiers, such as "LDS.128".
        loops: first and last index of each: backward branches and their targets.
    """

    opcodes: tuple[str, ...]
    loops: tuple[tuple[int, int], ...]

    def hottest(self) -> tuple[str, ...]:
        """The loop with the most multiplications, the shortest of equals; without loops the whole kernel.

        A product of matrices outweighs any number of plain ones, such as those of a loop over activations.
        """
        if not self.loops:
            return self.opcodes

        def weight(loop: tuple[int, int]) -> tuple[int, int, int]:
            return self._count(_MATRIX, *loop), self._count(_MULTIPLIES, *loop), loop[0] - loop[1]

        first, last = max(self.loops, key=weight)
        return self.opcodes[first : last + 1]

    def _count(self, kind: re.Pattern[str], first: int, last: int) -> int:
        return sum(bool(kind.match(opcode)) for opcode in self.opcodes[first : last + 1])


def kernels_of(listing: str) -> dict[str, Listing]:
    """Mangled name -> instructions, of ``nvdisasm -c``."""
    texts: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in listing.splitlines():
        start = _KERNEL.match(line.strip())
        if start:
            lines = texts.setdefault(start[1], [])
        lines.append(line)
    return {name: _listing(lines) for name, lines in texts.items()}


def mix(opcodes: tuple[str, ...]) -> dict[str, float | int | None]:
    """What a loop is made of.

    Returns:
        "loop": instructions, but for NOP, which ptxas puts behind products on 12.0 where it has nothing better
        to wait with; "ffma_share", "mma_share": how much of them multiplies; "lds128_share": how many loads
        from shared memory are the widest there are, None without loads; "divergent": branches of a warp that
        the compiler could not prove uniform, and calls.
    """
    opcodes = tuple(opcode for opcode in opcodes if opcode != "NOP")
    loads = [opcode for opcode in opcodes if _SHARED_LOAD.match(opcode)]
    count = max(1, len(opcodes))
    return {
        "loop": len(opcodes),
        "ffma_share": sum(opcode.startswith("FFMA") for opcode in opcodes) / count,
        "mma_share": sum(bool(_MATRIX.match(opcode)) for opcode in opcodes) / count,
        "mma": sum(bool(_MATRIX.match(opcode)) for opcode in opcodes),
        "lds128_share": sum(bool(_WIDE_SHARED_LOAD.match(o)) for o in loads) / len(loads) if loads else None,
        "divergent": sum(bool(_DIVERGENCE.match(opcode)) for opcode in opcodes),
    }


def _listing(lines: list[str]) -> Listing:
    opcodes: list[str] = []
    labels: dict[str, int] = {}
    loops = []
    for line in lines:
        label = _LABEL.match(line.strip())
        if label:
            labels[label[1]] = len(opcodes)
        found = _INSTRUCTION.match(line)
        if not found or _NEVER.match(line):
            continue
        target = _TARGET.search(found[2])
        if found[1].startswith("BRA") and target and target[1] in labels:
            loops.append((labels[target[1]], len(opcodes)))
        # ptxas also leaves loops through a "call" of a label, from which nothing returns.
        leaves = found[1].startswith("CALL") and target and target[1].startswith(".L_")
        opcodes.append("BRA" if leaves else found[1])
    # The last branch of a kernel goes to itself: it stops what runs over the end.
    return Listing(tuple(opcodes), tuple(loop for loop in loops if loop[0] < loop[1]))
