"""Tables of what an operation and a byte cost: one JSON file each in ``tables``, every figure with its source.

A figure without a citation is refused. One marked ``estimate`` (recalled, not looked up) is taken to be right within a
factor of 2 either way, on top of the interval that its source gives.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DEFAULT = "generic-7nm"
ESTIMATE_FACTOR = 2.0

_TABLES = Path(__file__).resolve().parent / "tables"
_UNITS = ("joules", "watts")


@dataclass(frozen=True)
class Figure:
    """One row of a table: J an operation or a byte, or W.

    Attributes:
        what: "add float32", "multiply int8", "L2 byte", "DRAM byte", "host link byte", "static watt".
        value, low, high: with its interval; an estimate's is widened by `ESTIMATE_FACTOR`.
        unit: "J" or "W".
        estimate: whether it was recalled and not looked up in the source.
        citation: the source.
        capacity_bytes: size of the cache that a byte is moved to or from; None for anything else.
    """

    what: str
    value: float
    low: float
    high: float
    unit: str
    estimate: bool
    citation: str
    capacity_bytes: int | None = None


@dataclass(frozen=True)
class Hardware:
    """One table.

    Attributes:
        name: what ``hardware=`` takes.
        about: what the table stands for.
        figures: what -> its figure.
    """

    name: str
    about: str
    figures: dict[str, Figure]

    def figure(self, what: str) -> Figure | None:
        """The figure, or None where the table has none."""
        return self.figures.get(what)

    @property
    def caches(self) -> tuple[Figure, ...]:
        """Levels of storage between registers and memory, the smallest first."""
        found = [figure for figure in self.figures.values() if figure.capacity_bytes is not None]
        return tuple(sorted(found, key=lambda figure: figure.capacity_bytes))


def hardware_names() -> list[str]:
    """The tables that there are."""
    return sorted(path.stem for path in _TABLES.glob("*.json"))


@cache
def hardware(name: str) -> Hardware:
    """The table of that name, or in a file of that name if it ends with ``.json``. Raises ValueError for neither."""
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise ValueError(f"energy: there is no table {name}")
        return load_table(Path(name))
    if name not in hardware_names():
        raise ValueError(f"energy: hardware must be one of {', '.join(hardware_names())}, got {name!r}")
    return load_table(_TABLES / f"{name}.json")


def load_table(path: Path) -> Hardware:
    """Read a table. Raises ValueError for what is none, and for a row without citation, value or sense."""
    try:
        data = json.loads(path.read_bytes())
        rows, told = list(data["rows"]), (data["name"], data["about"])
        figures = [_figure(row, f"{path.name}: row {row.get('what', '?')!r}") for row in rows]
        return Hardware(*told, {figure.what: figure for figure in figures})
    except (
        UnicodeDecodeError,
        json.JSONDecodeError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as problem:
        raise ValueError(f"{path.name}: is no table ({problem!r})") from problem


def _figure(row: dict, where: str) -> Figure:
    if not str(row.get("citation", "")).strip():
        raise ValueError(f"{where} must have a citation")
    units = [unit for unit in _UNITS if unit in row]
    if len(units) != 1:
        raise ValueError(f"{where} must have either joules or watts")
    estimate = bool(row.get("estimate", False))
    try:
        value = float(row[units[0]])
        low, high = float(row.get("low", value)), float(row.get("high", value))
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{where} must have numbers ({problem})") from problem
    if not 0 < low <= value <= high:
        raise ValueError(f"{where} must have 0 < low <= value <= high, got {low}, {value}, {high}")
    if estimate:
        low, high = low / ESTIMATE_FACTOR, high * ESTIMATE_FACTOR
    unit, capacity = "J" if units[0] == "joules" else "W", row.get("capacity_bytes")
    return Figure(row["what"], value, low, high, unit, estimate, row["citation"], capacity)
