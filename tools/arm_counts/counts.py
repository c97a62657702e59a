"""Instructions that a kernel executed under qemu: from the log of every address and the disassembly."""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

# Vector instructions that multiply and add; each is four float32 products or sixteen 8-bit ones.
MULTIPLY = ("fmla", "fmls", "sdot")


class Program(NamedTuple):
    """What the disassembly says: the mnemonic at each address, and where functions begin, ascending."""

    mnemonics: dict[int, str]
    starts: list[int]
    names: list[str]

    def function(self, address: int) -> str:
        """The function that the address lies in, or "" before the first."""
        at = bisect.bisect_right(self.starts, address) - 1
        return self.names[at] if at >= 0 else ""


class Count(NamedTuple):
    """Instructions of one call."""

    executed: int
    multiply: int
    loads: int
    prefetches: int

    @property
    def per_multiply(self) -> float:
        """Instructions executed for each that multiplies."""
        return self.executed / self.multiply


def read_disassembly(lines: Iterable[str]) -> Program:
    """The program in the output of ``objdump --disassemble --demangle``."""
    mnemonics, starts, names = {}, [], []
    for line in lines:
        if function := re.match(r"([0-9a-f]+) <(.*)>:$", line.rstrip()):
            starts.append(int(function[1], 16))
            names.append(function[2])
        elif instruction := re.match(r"\s+([0-9a-f]+):\s+[0-9a-f]{8}\s+(\S+)", line):
            mnemonics[int(instruction[1], 16)] = instruction[2]
    return Program(mnemonics, starts, names)


def read_trace(lines: Iterable[str]) -> Counter[int]:
    """How often each address was executed, from ``qemu -singlestep -d nochain,exec``."""
    found: Counter[int] = Counter()
    for line in lines:
        if line.startswith("Trace"):
            found[int(line.split("/", 2)[1], 16)] += 1
    return found


def count(executed: Counter[int], program: Program, within: str = "") -> Count:
    """Sums up the addresses whose function's name matches the pattern ``within``."""
    total = multiply = loads = prefetches = 0
    inside: dict[str, bool] = {}
    for address, times in executed.items():
        name = program.function(address)
        if not inside.setdefault(name, re.search(within, name) is not None):
            continue
        mnemonic = program.mnemonics.get(address, "")
        total += times
        multiply += times * (mnemonic in MULTIPLY)
        loads += times * mnemonic.startswith("ld")
        prefetches += times * (mnemonic == "prfm")
    return Count(total, multiply, loads, prefetches)
