"""Who takes part in a measurement: a way to do the job, how to run it, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .rotation import Arguments
from .work import Work


@dataclass(frozen=True)
class Contender:
    """One way to do the job.

    Attributes:
        name: unique in a run.
        call: takes one input's arguments; what it returns is checked.
        prepare: brings the arguments into this contender's own layout, outside of the time.
        keep: never dropped for being slow (baselines).
        tolerance: relative error beyond which it is thrown out; None for the run's.
        timer: makes ``inner`` calls on one input by itself, for example in a process of its own, and gives seconds
            a call by its own clock, and the last output; None to time `call` here.
        version: of the software that does the work, for the row.
        flags: options that it runs with, for the row.
        work: what one call of it does, where that differs from other contenders.
        fresh: the same contender on weights of its own, at other addresses: cold runs rotate over such copies.
            None if there is no such thing, which leaves it out of cold runs.
        proof: says, after its calls, why it is not what it claims to be, or None: a compiler that fell back, a
            kernel that never ran.
    """

    name: str
    call: Callable[..., Any]
    prepare: Callable[[Arguments], Arguments] | None = None
    keep: bool = False
    tolerance: float | None = None
    timer: Callable[[Arguments, int], tuple[float, Any]] | None = None
    version: str = ""
    flags: str = ""
    work: Work | None = None
    fresh: Callable[[], Contender] | None = None
    proof: Callable[[], str | None] | None = None
