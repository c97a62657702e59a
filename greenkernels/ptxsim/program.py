"""What a PTX module is after parsing: kernels, their parameters and variables, instructions, operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Register:
    """A register, predicate or special register: ``%r1``, ``%p2``, ``%tid.x``."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A number as written; its type is that of the instruction."""

    text: str


@dataclass(frozen=True)
class Symbol:
    """The name of a label, parameter or variable."""

    name: str


@dataclass(frozen=True)
class Negated:
    """``!%p1``: the opposite of a predicate."""

    register: Register


@dataclass(frozen=True)
class Address:
    """``[base + offset]``; offset in bytes."""

    base: Register | Symbol | Literal
    offset: int


@dataclass(frozen=True)
class Vector:
    """``{%r1, %r2}``, or the pair ``%r1|%p1`` of a destination."""

    items: tuple[Operand, ...]


Operand = Register | Literal | Symbol | Negated | Address | Vector


@dataclass(frozen=True)
class SourceLine:
    """A line of the kernel's source, from ``.loc``; for an inlined function the line that called it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file.rpartition('/')[2]}:{self.line}" if self.line else "?"


NOWHERE = SourceLine("", 0)


@dataclass(frozen=True)
class Instruction:
    """One instruction of a kernel."""

    index: int  # position in Kernel.code
    opcode: str  # "fma"
    modifiers: tuple[str, ...]  # ("rn", "f32")
    operands: tuple[Operand, ...]
    guard: Register | Negated | None
    source: SourceLine
    text: str  # as written, without the guard

    @property
    def type(self) -> str:
        """The last modifier, which is the type of most instructions."""
        return self.modifiers[-1] if self.modifiers else ""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel: a scalar, or a structure passed by value."""

    name: str
    size: int  # bytes
    type: str  # "u64", "f32", ...; "b8" for a structure


@dataclass(frozen=True)
class SharedVariable:
    """A variable in shared memory; size 0 for ``extern __shared__``, whose size the launch gives."""

    name: str
    size: int  # bytes
    align: int


@dataclass(frozen=True)
class Kernel:
    """One ``.entry`` of a module."""

    name: str  # mangled
    parameters: tuple[Parameter, ...]
    registers: Mapping[str, str]  # name -> type, as declared
    shared: tuple[SharedVariable, ...]  # its own and the module's
    labels: Mapping[str, int]  # name -> index of the instruction behind it
    code: tuple[Instruction, ...]
    max_threads: int | None = None  # of a block, from __launch_bounds__

    @cached_property
    def label_indices(self) -> frozenset[int]:
        """Where straight-line code may be entered."""
        return frozenset(self.labels.values())

    @property
    def static_shared_bytes(self) -> int:
        """Shared memory that every launch needs, without alignment gaps."""
        return sum(variable.size for variable in self.shared)


@dataclass(frozen=True)
class Module:
    """A PTX file."""

    target: str  # "sm_80"
    kernels: Mapping[str, Kernel] = field(default_factory=dict)  # mangled name -> kernel

    def find(self, part: str) -> Kernel:
        """The only kernel whose name contains ``part``.

        Raises:
            KeyError: there is none, or more than one.
        """
        found = [kernel for name, kernel in self.kernels.items() if part in name]
        if len(found) != 1:
            names = ", ".join(sorted(self.kernels)) or "none"
            raise KeyError(f"{len(found)} kernels have '{part}' in their name; the module has: {names}")
        return found[0]
