"""Plans that travel with weights: taken without measuring where they were made, refused elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from .. import _isa
from ..measure.machine import cpu_facts
from .convert import apply_plan
from .plans import Plan


def machine_of(plan: Plan) -> dict[str, object]:
    """What the times of a plan hold for: processor, its instruction sets, and the number of threads."""
    cpu = cpu_facts()
    return {
        "cpu": plan.about.get("cpu") or cpu["name"],
        "model": cpu["family_model"],
        "level": _isa.current(),
        "threads": plan.threads,
        **({"gpu": plan.about["gpu"]} if "gpu" in plan.about else {}),
    }


def converted(model: nn.Module, plan: str, machine: str, path: Path, refuse: bool) -> nn.Module:
    """The model converted by the plan of a file, in place and in eval mode; its weights are filled in later.

    Raises:
        ValueError: the plan is damaged, does not fit the network, or is another machine's and `refuse` is set.
    """
    made = Plan.from_text(plan, str(path))
    here = {"cpu": cpu_facts()["name"], "threads": torch.get_num_threads()}
    if "gpu" in made.about:
        here["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    try:
        theirs, mine = dict(json.loads(machine)), machine_of(made) | here
    except (ValueError, TypeError, RecursionError) as problem:
        raise ValueError(f"load: {path}: the machine of its plan is damaged ({problem})") from problem
    differing = [
        f"{key} {theirs.get(key)!r}, here {mine[key]!r}" for key in mine if theirs.get(key) != mine[key]
    ]
    if refuse and made.measured and differing:
        raise ValueError(
            f"load: {path}: its plan was measured on another machine ({'; '.join(differing)}). Measure anew: "
            "greenkernels.optimize(greenkernels.load(model, path, plan='none'), inputs); "
            "or take it as it is: load(model, path, plan='any')"
        )
    return apply_plan(made, model.eval(), inplace=True)
