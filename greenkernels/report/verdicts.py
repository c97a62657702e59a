"""One word on a case over several runs. A loss is said sooner than a win.

With b the relative noise (the median A/A noise of the runs, at least `NOISE_FLOOR`), and the ratio best rival / ours of
each run, the first of these that holds:

- loses: more than half of the runs are below 1 - b.
- wins: the 95 % interval of the median lies above 1 and the median above 1 + b, over at least `RUNS_OF_A_VERDICT` runs.
- ahead: the same over fewer runs, at least two.
- even: every run is within 1 - b and 1 + b.
- undecided: anything else.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from ..measure.compare import NOISE_FLOOR, median_interval

RUNS_OF_A_VERDICT = 5  # fresh processes behind a published win
COUNTED = {
    "wins": "win",
    "ahead": "ahead",
    "even": "even",
    "undecided": "undecided",
    "loses": "lose",
    "": "unopposed",
}


def verdict(ratios: Sequence[float], noise: float = 0.0) -> str:
    """The word for the ratios, best rival / ours, one a run.

    Args:
        ratios: at least one, positive.
        noise: relative A/A noise of the runs.

    Raises:
        ValueError: there is no ratio.
    """
    if not ratios:
        raise ValueError("verdict: ratios must not be empty")
    band = max(noise, NOISE_FLOOR)
    if 2 * sum(ratio < 1 - band for ratio in ratios) > len(ratios):
        return "loses"
    if median_interval(ratios)[0] > 1 and statistics.median(ratios) > 1 + band:
        return "wins" if len(ratios) >= RUNS_OF_A_VERDICT else "ahead"
    if all(1 - band <= ratio <= 1 + band for ratio in ratios):
        return "even"
    return "undecided"


def counted(words: Iterable[str]) -> str:
    """``12 ahead, 3 lose``: how often each verdict fell; "" is a case with one side only."""
    times = Counter(words)
    return ", ".join(f"{times[word]} {plural}" for word, plural in COUNTED.items() if times[word])
