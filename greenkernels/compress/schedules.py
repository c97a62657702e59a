"""How much is pruned at which step of training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OneShot:
    """All at once at step ``begin``."""

    target: float
    begin: int = 0

    def __post_init__(self) -> None:
        _check(self.target, self.begin, 1)

    def amount(self, step: int) -> float | None:
        """Share of zeros to prune to at this step; None where nothing is to be done."""
        return self.target if step == self.begin else None


@dataclass(frozen=True)
class Constant:
    """To ``target`` every ``frequency`` steps from ``begin`` on: what has grown back in importance may not return, but
    what was trained to be small later takes no one's place, so this repeats the choice on the weights as they are."""

    target: float
    begin: int = 0
    frequency: int = 100

    def __post_init__(self) -> None:
        _check(self.target, self.begin, self.frequency)

    def amount(self, step: int) -> float | None:
        """As for `OneShot`."""
        due = step >= self.begin and (step - self.begin) % self.frequency == 0
        return self.target if due else None


@dataclass(frozen=True)
class Polynomial:
    """``target + (initial - target) * (1 - t) ** power`` with t from 0 at ``begin`` to 1 at ``end``.

    Source: Zhu and Gupta, "To prune, or not to prune", 2017, whose power is 3: see `Cubic`.
    """

    target: float
    begin: int = 0
    end: int = 1000
    frequency: int = 100
    initial: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        _check(self.target, self.begin, self.frequency)
        if self.end <= self.begin:
            raise ValueError(f"end must be greater than begin={self.begin}, got end={self.end}")
        if not 0 <= self.initial <= self.target:
            raise ValueError(f"initial must be in [0, target={self.target}], got initial={self.initial}")

    def amount(self, step: int) -> float | None:
        """As for `OneShot`."""
        if not self.begin <= step <= self.end:
            return None
        if (step - self.begin) % self.frequency and step != self.end:
            return None
        t = (step - self.begin) / (self.end - self.begin)
        return self.target + (self.initial - self.target) * (1 - t) ** self.power


@dataclass(frozen=True)
class Cubic(Polynomial):
    """`Polynomial` of power 3: much at first, while there is much to spare, and little at the end."""

    power: float = 3.0


Schedule = OneShot | Constant | Polynomial


def _check(target: float, begin: int, frequency: int) -> None:
    if not 0 <= target <= 1:
        raise ValueError(f"target must be in [0, 1], got target={target}")
    if begin < 0:
        raise ValueError(f"begin must be 0 or more, got begin={begin}")
    if frequency < 1:
        raise ValueError(f"frequency must be 1 or more, got frequency={frequency}")
