"""How long each of many measurements may take, so that all of them end in time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from .clock import Clock
from .turns import Schedule

LEAST_S = 0.2  # of turns for one measurement, however late it is; `Schedule.min_rounds` are taken even then
AROUND_S = 1.5  # beside its turns, before any was done: what is measured has to be built and checked


@dataclass
class Pace:
    """Shares a time out among the measurements that are left.

    Fewer rounds fit into a smaller share. What a row says of its noise, its readings and its verdict is of the rounds
    that were taken, so that a hurried run knows less; it claims no more.

    Attributes:
        jobs: measurements left.
        seconds: for all of them; infinite for as long as it takes.
        clock: where seconds come from.
    """

    jobs: int
    seconds: float = math.inf
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self._begin = self.clock.now()
        self._done, self._around, self._budget = 0, AROUND_S, 0.0

    def schedule(self, full: Schedule) -> Schedule:
        """That of the next measurement; begins it."""
        self._job_begin, self._budget = self.clock.now(), full.budget_s
        if math.isfinite(self.seconds):
            share = self.left_s / max(1, self.jobs) - self._around
            self._budget = min(full.budget_s, max(LEAST_S, share))
        return replace(full, budget_s=self._budget)

    def done(self) -> None:
        """The measurement that `schedule` began has ended."""
        self.jobs, self._done = self.jobs - 1, self._done + 1
        around = max(0.0, self.clock.now() - self._job_begin - self._budget)
        self._around += (around - self._around) / self._done

    @property
    def left_s(self) -> float:
        return self.seconds - (self.clock.now() - self._begin)

    @property
    def up(self) -> bool:
        """True once the time is over."""
        return self.left_s <= 0

    def remaining_s(self) -> float | None:
        """An estimate of the time until all is done; None before anything is."""
        if not self._done:
            return self.seconds if math.isfinite(self.seconds) else None
        each = (self.clock.now() - self._begin) / self._done
        return max(0.0, min(self.left_s, each * self.jobs))

    def words(self) -> str:
        """The estimate, to be read."""
        seconds = self.remaining_s()
        if seconds is None:
            return "no estimate yet"
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"
