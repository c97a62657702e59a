"""What to do about a layer that stays: one hint for each kind of reason, with its section of docs/why_not_faster.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .plans import Plan

PAGE = "docs/why_not_faster.md"
LONGEST_LIST = 3  # names of layers in a line, the rest is counted


class Hint(NamedTuple):
    """One kind of reason.

    Attributes:
        section: anchor of its section on `PAGE`.
        reasons: a regular expression that finds the kind in the text of a reason.
        advice: what to do, in a line.
    """

    section: str
    reasons: str
    advice: str


# The first that matches holds: what was measured comes before what the rules say, and these before single attributes,
# whose words may stand within a longer reason.
HINTS = (
    Hint(
        "measured-and-not-faster",
        r": (far )?slower|: no difference|: faster, ",
        "torch's kernel is as good here; other sizes, thread numbers or channels_last may differ",
    ),
    Hint(
        "wrong-or-failed-in-its-turns",
        r"relative error .*, allowed|raised |wrong in elements|changed its inputs|may do its work when",
        "the kernel did not give float64's result within the bound; max_error sets it",
    ),
    Hint(
        "a-bound-would-break",
        r"error would be|metric would drop|bytes of memory, allowed|would break a bound",
        "widen max_error, max_drop or max_memory if your use can bear it",
    ),
    Hint(
        "the-network-as-a-whole-did-not-win",
        r"replaced it was not |network as a whole is kept|no layer won|nothing was certified",
        "layers that win alone may not add up; try a larger input, another thread number, a calm machine",
    ),
    Hint(
        "it-was-not-measured",
        r"not measured|it was never timed|joules are unknown|interrupted",
        "give it time: a larger time_budget or none, and no Ctrl-C",
    ),
    Hint(
        "switched-off",
        r"GREENKERNELS_DISABLE",
        "unset GREENKERNELS_DISABLE",
    ),
    Hint(
        "too-few-zeros",
        r"of its weights are zero",
        "prune the layer further with gk.compress.prune, and retrain",
    ),
    Hint(
        "too-little-work-in-the-layer",
        r"too few to pay|too few features|too few products|waste too much at the edges|the output is empty"
        r"|too many rows|a weight that stays in cache",
        "larger inputs, or a batch, give a kernel more to save",
    ),
    Hint(
        "rules-do-not-measure",
        r"only a measurement can tell|no rule applies",
        "plan with measure=True: the rules take a kernel only where it wins on every machine",
    ),
    Hint(
        "the-replacement-did-not-run",
        r"its replacement (was never called|falls back)|what calls it runs its own forward|does not run so"
        r"|in (as given|channels_last): ",
        "something around the layer goes past its forward; call the layer itself",
    ),
    Hint(
        "the-layer-means-something-else",
        r"is a subclass|is parametrized|computed in a hook|has hooks|_hooks must be empty|of its own"
        r"|type must be",
        "make it a plain layer first: remove hooks, fuse parametrizations, use the class of torch.nn",
    ),
    Hint(
        "it-runs-our-kernel-already",
        r"^is an? \S+ already",
        "nothing to do",
    ),
    Hint(
        "it-is-called-in-an-unusual-way",
        r"never called on the example inputs|called with more than one tensor|called in several places"
        r"|called in another way",
        "give example inputs that reach the layer, and call it with one tensor",
    ),
    Hint(
        "no-kernel-for-its-device",
        r"no kernel for .* runs ",
        "Winograd, direct, depthwise and sparse kernels run on CUDA too, the rest on the CPU alone",
    ),
    Hint(
        "no-kernel-for-this-class",
        r"no kernel of this package|no layer has a kernel",
        "README.md lists what has a kernel; CONTRIBUTING.md says how to add one",
    ),
    Hint(
        "precision-leaves-the-kernel-out",
        r"precision leaves out",
        "name the kernel in precision=, or precision='int8'",
    ),
    Hint(
        "no-block",
        r"no block: |behind it is not computed within a block|its output goes to|follows it, not a 1x1"
        r"|no forward around it can be traced|is not known to the kernel of a block",
        "its neighbours do not fit into one call; each layer is planned by itself",
    ),
    Hint(
        "no-8-bit-integers-between-layers",
        r"gives float to|8 bits to the next layer|is no finite float32 map",
        "the layers run in 8 bits each; only the map between them is float",
    ),
    Hint(
        "outside-what-the-kernels-compute",
        r"must (be|have|hold|follow)|leave fewer than|would lose",
        "the attribute named is outside of the kernels' contract; another kernel of README.md may take it",
    ),
)


def hint_for(reason: str) -> Hint | None:
    """The hint for the reason of a layer or a network; None for a text of another version."""
    return next((hint for hint in HINTS if re.search(hint.reasons, reason)), None)


def hint_lines(plan: Plan) -> list[str]:
    """A line for each kind of reason in a plan, with the layers that stay for it, in their order."""
    found: dict[Hint, list[str]] = {}
    network = None if plan.accepted else hint_for(plan.reason)
    if network is not None:
        found[network] = []
    for layer in plan.layers:
        hint = hint_for(layer.reason) if layer.stem is None and layer.reason else None
        if hint is not None:
            found.setdefault(hint, []).append(layer.names[0] or "(the model)")
    lines = [f"{hint.section}{_named(names)}: {hint.advice}" for hint, names in found.items()]
    return [f"why not more, see {PAGE}:", *(f"  {line}" for line in lines)] if lines else []


def _named(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = len(names) - LONGEST_LIST
    return f" ({', '.join(names[:LONGEST_LIST])}{f' and {more} more' if more > 0 else ''})"
