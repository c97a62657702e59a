"""PTX text -> Module. Reads what nvcc writes; a directive that would change the meaning is refused by name."""

from __future__ import annotations

import re

from .dtypes import dtype_of
from .errors import UnsupportedPtx
from .program import (
    NOWHERE,
    Address,
    Instruction,
    Kernel,
    Literal,
    Module,
    Negated,
    Operand,
    Parameter,
    Register,
    SharedVariable,
    SourceLine,
    Symbol,
    Vector,
)

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_ENTRY = re.compile(
    r"\.entry\s+([\w$]+)\s*\((?P<parameters>[^)]*)\)(?P<bounds>[^{]*)\{\n(?P<body>.*?)\n\}", re.DOTALL
)
_PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.ptr\s+(?:\.\w+\s+)?(?:\.align\s+\d+\s+)?)?([\w$]+)(?:\[(\d+)\])?"
)
_SHARED = re.compile(r"\.shared\s+\.align\s+(\d+)\s+\.(\w+)\s+([\w$]+)((?:\[\d*\])?)\s*;")
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+([^;]+);")
_FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', re.MULTILINE)
_LOCATION = re.compile(r"\.loc\s+(\d+)\s+(\d+)")
_INLINED_AT = re.compile(r"inlined_at\s+(\d+)\s+(\d+)")
_LABEL = re.compile(r"^(\$?[A-Za-z_][\w$]*):\s*(.*)$")
_GUARD = re.compile(r"^@(!?)(%[\w$]+)\s+(.*)$", re.DOTALL)
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*")
_STATE_SPACE = re.compile(
    r"^[ \t]*(?:\.(?:visible|extern|weak|common)\s+)*\.(global|const|local|tex|func|alias)\b", re.MULTILINE
)


def parse(text: str) -> Module:
    """Reads a PTX module.

    Raises:
        UnsupportedPtx: it has variables outside of shared memory, functions that are not inlined, or syntax
            that the parser does not know.
    """
    text = _COMMENT.sub("", text)
    refused = _STATE_SPACE.search(text)
    if refused:
        raise UnsupportedPtx(f"not implemented: {_line_at(text, refused.start())}")
    files = {int(number): name for number, name in _FILE.findall(text)}
    target = re.search(r"\.target\s+(\w+)", text)
    module_shared = _shared_variables(_ENTRY.sub("", text))
    kernels = {}
    for found in _ENTRY.finditer(text):
        kernels[found[1]] = _Body(found["body"], files).kernel(found, module_shared)
    return Module(target[1] if target else "", kernels)


class _Body:
    """The body of one kernel while it is read."""

    def __init__(self, text: str, files: dict[int, str]) -> None:
        self._files = files
        self._text = text
        self._code: list[Instruction] = []
        self._labels: dict[str, int] = {}
        self._source = NOWHERE

    def kernel(self, head: re.Match[str], module_shared: list[SharedVariable]) -> Kernel:
        for line in _logical_lines(self._text):
            self._read(line)
        own = _shared_variables(self._text)
        shared = [*own, *(variable for variable in module_shared if self._uses(variable.name))]
        bounds = re.search(r"\.(?:maxntid|reqntid)\s+([\d, ]+)", head["bounds"])
        threads = 1
        for size in bounds[1].split(",") if bounds else ():
            threads *= int(size)
        return Kernel(
            head[1],
            tuple(_parameters(head["parameters"])),
            _registers(self._text),
            tuple(shared),
            self._labels,
            tuple(self._code),
            threads if bounds else None,
        )

    def _uses(self, name: str) -> bool:
        return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", self._text) is not None

    def _read(self, line: str) -> None:
        label = _LABEL.match(line)
        if label:
            self._labels[label[1]] = len(self._code)
            line = label[2]
        if line.startswith(".loc"):
            place = _INLINED_AT.search(line) or _LOCATION.search(line)
            if place:
                file, number = self._files.get(int(place[1]), ""), int(place[2])
                self._source = SourceLine(file, number) if number else NOWHERE
        elif line.startswith((".reg", ".shared", ".pragma")) or not line:
            return
        elif line.startswith("."):
            raise UnsupportedPtx(f"not implemented: {line}")
        else:
            self._code.append(self._instruction(line))

    def _instruction(self, text: str) -> Instruction:
        guard: Register | Negated | None = None
        guarded = _GUARD.match(text)
        if guarded:
            register = Register(guarded[2])
            guard = Negated(register) if guarded[1] else register
            text = guarded[3]
        opcode, _, rest = text.partition(" ")
        name, *modifiers = opcode.split(".")
        operands = tuple(_operand(part.strip()) for part in _OPERAND.findall(rest))
        return Instruction(len(self._code), name, tuple(modifiers), operands, guard, self._source, text)


def _logical_lines(text: str) -> list[str]:
    """Statements without their semicolons; ``.loc`` and labels, which have none, end with their line."""
    lines = []
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith(".loc"):
            lines.append(line)
            continue
        # Braces of a scope carry no meaning here: nvcc gives each register one name in the whole kernel.
        parts = [part.strip() for part in line.split(";")]
        lines += [" ".join(part.split()) for part in parts if part not in ("", "{", "}")]
    return lines


def _operand(text: str) -> Operand:
    if text.startswith("{"):
        return Vector(tuple(_operand(part.strip()) for part in text[1:-1].split(",")))
    if text.startswith("["):
        return _address(text[1:-1].strip())
    if "|" in text:
        return Vector(tuple(_operand(part.strip()) for part in text.split("|")))
    if text.startswith("!"):
        return Negated(Register(text[1:].strip()))
    if text.startswith("%"):
        return Register(text)
    return Literal(text) if re.match(r"-?\d", text) else Symbol(text)


def _address(text: str) -> Address:
    found = re.fullmatch(r"([^\s+]+)\s*(?:\+\s*(-?\w+))?", text)
    if not found:
        raise UnsupportedPtx(f"not implemented: address [{text}]")
    base = _operand(found[1])
    assert isinstance(base, (Register, Symbol, Literal))
    return Address(base, int(found[2], 0) if found[2] else 0)


def _parameters(text: str) -> list[Parameter]:
    found = _PARAMETER.findall(text)
    if len(found) != text.count(".param"):
        raise UnsupportedPtx(f"not implemented: parameters ({' '.join(text.split())})")
    return [Parameter(name, dtype_of(kind).itemsize * int(count or 1), kind) for kind, name, count in found]


def _shared_variables(text: str) -> list[SharedVariable]:
    variables = []
    for align, kind, name, count in _SHARED.findall(text):
        elements = int(count[1:-1] or 0) if count else 1
        variables.append(SharedVariable(name, elements * dtype_of(kind).itemsize, int(align)))
    if len(variables) != text.count(".shared ."):
        raise UnsupportedPtx("not implemented: a declaration of shared memory in another form")
    return variables


def _registers(text: str) -> dict[str, str]:
    registers = {}
    for kind, names in _REGISTERS.findall(text):
        for name in names.split(","):
            family = re.fullmatch(r"\s*(%[\w$]+)<(\d+)>\s*", name)
            if family:
                registers.update({f"{family[1]}{number}": kind for number in range(int(family[2]))})
            else:
                registers[name.strip()] = kind
    return registers


def _line_at(text: str, position: int) -> str:
    return text[position : text.find("\n", position + 1)].strip()
