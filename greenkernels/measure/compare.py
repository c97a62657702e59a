"""Is one contender faster than another? A verdict from paired rounds, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .provenance import Kind, Measurement, quartiles

# Differences below this are never called a difference: clocks, page placement and alignment of one and the same code
# differ that much from run to run on a quiet machine (A/A rounds on 2 cores of a Xeon: up to 1.5 %).
NOISE_FLOOR = 0.02
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """How many times faster a contender is than its baseline.

    Attributes:
        baseline: time of the baseline.
        contender: time of the contender.
        ratio: baseline / contender, the median over paired rounds; low and high bound it with `CONFIDENCE`.
        verdict: "faster", "slower" or "no difference".
    """

    baseline: Measurement
    contender: Measurement
    ratio: Measurement
    verdict: str


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Interval that holds the true median with `CONFIDENCE`, from order statistics: no distribution is assumed.

    The median lies outside of [k-th smallest, k-th largest] with probability 2 P(Binomial(n, 1/2) < k). Below six
    values even the whole range misses the confidence, so the range is widened by its own half on both sides.
    """
    ordered, n = sorted(values), len(values)
    if n == 1:
        return 0.0, math.inf  # one value says nothing about spread
    if n < 6:
        half = (ordered[-1] - ordered[0]) / 2
        return max(ordered[0] - half, 0.0), ordered[-1] + half
    k, tail = 0, 1 / 2**n
    while 2 * tail <= 1 - CONFIDENCE:
        k += 1
        tail += math.comb(n, k) / 2**n
    return ordered[k - 1], ordered[n - k]


def compare_rounds(
    baseline: Sequence[Sequence[float]], contender: Sequence[Sequence[float]], noise: float = 0.0
) -> Comparison:
    """Compare two contenders that took turns.

    Args:
        baseline: ``[rounds][calls]`` seconds.
        contender: ``[rounds][calls]`` seconds; rounds both have are paired, so that drift of the machine cancels.
        noise: A/A noise, the relative difference of a contender to itself; widens the band of "no difference".
    """
    rounds = min(len(baseline), len(contender))
    if rounds == 0:
        raise ValueError("compare_rounds: each contender must have at least one round")
    pairs = zip(baseline[:rounds], contender[:rounds], strict=True)
    ratios = [quartiles(b)[1] / quartiles(c)[1] for b, c in pairs]
    low, high = median_interval(ratios)
    band = max(noise, NOISE_FLOOR)
    verdict = "no difference"
    if low > 1 + band:
        verdict = "faster"
    elif high < 1 - band:
        verdict = "slower"
    ratio = Measurement(quartiles(ratios)[1], "", Kind.MEASURED, low, high, tuple(ratios))
    return Comparison(flatten(baseline), flatten(contender), ratio, verdict)


def flatten(rounds: Sequence[Sequence[float]]) -> Measurement:
    """All calls of all rounds as one time."""
    return Measurement.from_repeats([seconds for calls in rounds for seconds in calls])
