"""Which form and ranks each layer gets, so that a network keeps to a budget at the least error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .factors import Factored


@dataclass(frozen=True)
class Choice:
    """One way to compute a layer.

    Attributes:
        cost: of all its calls, in the unit of the budget.
        error: relative error of the weight; 0 for the stock layer.
        made: what stands in for it; None for the stock layer itself.
    """

    cost: float
    error: float
    made: Factored | None = None


def choose(layers: Sequence[Sequence[Choice]], budget: float) -> list[Choice]:
    """One choice a layer, of together at most ``budget``, with the least sum of squared errors, or near to it.

    From the stock layers on, the step that costs least error for what it saves is taken until the budget is kept: the
    best there is, up to the size of the last step. What that leaves of the budget goes to the layers in their order.

    Raises:
        ValueError: the budget is below what the cheapest choices cost.
    """
    steps = [_frontier(choices) for choices in layers]
    least = sum(path[-1].cost for path in steps)
    if least > budget:
        whole = sum(path[0].cost for path in steps)
        raise ValueError(
            f"factorize: budget must be at least {least / whole:.3f} of these layers with these forms, "
            f"got {budget / whole:.3f}"
        )
    at = [0] * len(steps)
    while sum(path[i].cost for path, i in zip(steps, at, strict=True)) > budget:
        _, layer = min(
            (_slope(path[i], path[i + 1]), n)
            for n, (path, i) in enumerate(zip(steps, at, strict=True))
            if i + 1 < len(path)
        )
        at[layer] += 1
    picked = [path[i] for path, i in zip(steps, at, strict=True)]
    left = budget - sum(choice.cost for choice in picked)
    for n, choices in enumerate(layers):
        fits = [choice for choice in choices if choice.cost <= picked[n].cost + left]
        better = min(fits, key=lambda choice: (choice.error, choice.cost), default=picked[n])
        left += picked[n].cost - better.cost
        picked[n] = better
    return picked


def _slope(now: Choice, then: Choice) -> float:
    return (then.error**2 - now.error**2) / (now.cost - then.cost)


def _frontier(choices: Sequence[Choice]) -> list[Choice]:
    """The choices on the lower convex hull of error squared over cost, from the stock layer to cheaper ones."""
    stock, *others = choices
    path = [stock]
    while cheaper := [choice for choice in others if choice.cost < path[-1].cost]:
        path.append(min(cheaper, key=lambda choice: (_slope(path[-1], choice), choice.cost)))
    return path
