"""What makes one kernel better than another: seconds, joules, or their product; and never a slower one.

Joules are modelled from counts, so they rank kernels and inform; the clock alone says what is not slower.
"""

from __future__ import annotations

import math

from ..measure.compare import NOISE_FLOOR
from ..measure.provenance import Measurement
from ..measure.turns import NOISY
from .joules import energy
from .timing import Choice, LayerTimes

OBJECTIVES = ("latency", "energy", "edp")


def cost(objective: str, time: Measurement | None, joules: Measurement | None) -> float | None:
    """s, J or J s, the smaller the better; None where a term is missing."""
    if objective == "latency":
        return None if time is None else time.value
    if joules is None:
        return None
    if objective == "energy":
        return joules.value
    return None if time is None else joules.value * time.value


def not_slower(word: str, speedup: Measurement | None) -> bool:
    """Whether it is known not to be slower: "no difference" may also mean that there were too few turns to tell."""
    if word == "faster":
        return True
    known = speedup is not None and speedup.low > 1 - NOISY and math.isfinite(speedup.high)
    return word == "no difference" and known and speedup.value > 1 - NOISE_FLOOR


def admissible(found: LayerTimes, form: str, objective: str) -> list[Choice]:
    """Choices that are better than the stock layer in that memory format and not slower, best first.

    For latency the comparison of times decides. For energy and edp a choice must not be slower beyond noise, and its
    cost must be smaller by more than the noise of times.
    """
    form = found.known_form(form)
    choices = found.choices.get(form, [])
    if objective == "latency":
        return [choice for choice in choices if choice.verdict == "faster"]
    safe = [choice for choice in choices if not_slower(choice.verdict, choice.speedup)]
    return _cheaper(found, form, objective, safe)


def looks_better(found: LayerTimes, form: str, objective: str) -> list[Choice]:
    """The same with those which looked better but got too few turns to prove it; to fall back to."""
    form = found.known_form(form)
    choices = found.choices.get(form, [])
    if objective == "latency":
        return [choice for choice in choices if choice.speedup.value > 1 + NOISE_FLOOR]
    return _cheaper(found, form, objective, [c for c in choices if c.speedup.value > 1 - NOISE_FLOOR])


def _cheaper(found: LayerTimes, form: str, objective: str, choices: list[Choice]) -> list[Choice]:
    stock = cost(objective, found.stock[form], energy(found.work, found.stock[form]))
    costs = {id(c): cost(objective, c.time, energy(c.work, c.time)) for c in choices}
    # Where nothing models its joules, what is faster may win, and those of the whole network decide.
    if stock is None:
        return [choice for choice in choices if choice.verdict == "faster"]
    better = [c for c in choices if costs[id(c)] is not None and costs[id(c)] < stock * (1 - NOISE_FLOOR)]
    return sorted(better, key=lambda c: costs[id(c)])


def network_wins(
    objective: str,
    word: str,
    before: Measurement | None,
    after: Measurement | None,
    speedup: Measurement | None,
) -> bool:
    """Whether the converted network is taken.

    Args:
        word: verdict of the comparison of times.
        before, after: J of both networks.
        speedup: time of the stock network over that of the converted one.
    """
    if objective == "latency":
        return word == "faster"
    if not not_slower(word, speedup) or before is None or after is None:
        return False
    gain = before.value / after.value * (speedup.value if objective == "edp" else 1.0)
    return gain > 1 + NOISE_FLOOR
