"""A job run by torch and by this package, in turns: what the demo shows and the network benchmark records."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..energy.quality import quality_per_joule
from ..measure.progress import Advance
from ..measure.provenance import Measurement
from ..measure.rotation import map_tensors, relative_error
from ..measure.rows import Row, rows_from_turns
from ..measure.turns import Contender, Schedule, Turns, take_turns
from ..planning import Plan, plan
from ..planning.copying import copy_model
from .job import Job

TORCH, TORCH_CHANNELS_LAST, OURS = "torch NCHW", "torch channels_last", "greenkernels"
WRONG = 1e-2  # relative error to float64 that is no rounding


FLOOR = 0.99  # of torch's score: below it a network does another job, and gets no score per joule


def efficiency(
    scores: dict[str, float | None], name: str, energy_j: Measurement | None
) -> Measurement | None:
    """Score per joule of a contender; None below the floor, without a judge, or without joules."""
    stock = scores[TORCH]
    return None if stock is None else quality_per_joule(scores[name], energy_j, FLOOR * stock)


def judged_by_joules(
    job: Job, scores: dict[str, float | None], joules: dict[str, Measurement | None]
) -> dict[str, object]:
    """The same for the rows of those contenders, under names that tables of rows know."""
    found = {name: efficiency(scores, name, energy_j) for name, energy_j in joules.items()}
    each = {name: value.to_json() for name, value in found.items() if value is not None}
    return {"per_joule_of": job.score_heading, "per_joule": each} if each else {}


@dataclass
class Result:
    """What one thread number gave.

    Attributes:
        threads: torch's thread number.
        plan: what was replaced, and why the rest was not.
        turns: all times.
        outputs: contender -> output on the job's own input: a tensor, or tensors in tuples, lists and dicts.
        scores: contender -> the job's score of that output; None where the job has no judge.
        difference: relative difference of the converted network's output to torch's, on the job's own input.
        rows: the same for JSON files.
    """

    threads: int
    plan: Plan
    turns: Turns
    outputs: dict[str, Any]
    scores: dict[str, float | None]
    difference: float
    rows: list[Row] = field(default_factory=list)

    def energy(self, name: str) -> Measurement | None:
        """J a call, as the plan says: of torch in its best format and of ours; None for the other format."""
        network = self.plan.network
        if name == OURS:
            return network.energy_after if self.plan.accepted else network.energy_before
        return network.energy_before if name == self.best_stock else None

    def efficiency(self, name: str) -> Measurement | None:
        """Score per joule, from `FLOOR` of torch's score on; None below it, without a judge, or without joules."""
        return efficiency(self.scores, name, self.energy(name))

    @property
    def best_stock(self) -> str:
        stock = [name for name in (TORCH, TORCH_CHANNELS_LAST) if name in self.turns.samples]
        return min(stock, key=lambda name: self.turns.time(name).value)


def schedule(repeats: int, quick: bool) -> Schedule:
    """Rounds so that each contender has about `repeats` timed calls."""
    if quick:
        return Schedule(rounds=2, min_rounds=1, timed=1, untimed=1)
    return Schedule(rounds=max(1, -(-repeats // 3)), min_rounds=1)


def contest(job: Job, threads: int, timing: Schedule, advance: Advance, quick: bool = False) -> Result:
    """Plan the network for that many threads, convert it, and let it take turns with the stock network."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        advance(0.0, f"{threads} thread(s): choosing kernels")
        made = plan(job.network, job.inputs, measure=not quick, progress=False)
        networks = contestants(job, made)
        turns = take_turns(
            [Contender(name, call, keep=True) for name, call in networks.items()],
            job.inputs,
            timing,
            reference=float64_reference(job.network),
            tolerance=WRONG,
            twin=TORCH,
            progress=lambda share: advance(0.4 + 0.6 * share, f"{threads} thread(s): taking turns"),
        )
        with torch.inference_mode():
            outputs = {
                name: map_tensors(Tensor.contiguous, call(*job.inputs)) for name, call in networks.items()
            }
    finally:
        torch.set_num_threads(before)
    return _result(job, threads, made, turns, outputs)


def contestants(job: Job, made: Plan) -> dict[str, Callable[..., Any]]:
    """torch as given, torch in channels_last (converting the input is inside of the time), and the converted network.

    Without convolutions over maps there is no channels_last.
    """
    found: dict[str, Callable[..., Any]] = {TORCH: job.network}
    if any(weight.dim() == 4 for weight in job.network.parameters()):
        channels_last = copy_model(job.network).to(memory_format=torch.channels_last)
        found[TORCH_CHANNELS_LAST] = lambda *inputs: channels_last(*_in_channels_last(inputs))
    return found | {OURS: made.apply(job.network)}


def _in_channels_last(inputs: Sequence[Any]) -> list[Any]:
    return [
        x.contiguous(memory_format=torch.channels_last) if isinstance(x, Tensor) and x.dim() == 4 else x
        for x in inputs
    ]


def float64_reference(network: nn.Module) -> Callable[..., Any]:
    """The same network in float64; integers (token numbers) stay what they are."""
    exact = copy.deepcopy(network).double()
    return lambda *inputs: exact(*map_tensors(lambda x: x.double() if x.is_floating_point() else x, inputs))


def facts(job: Job, made: Plan) -> dict[str, object]:
    """What a row says about the network, whoever ran it."""
    return {
        "role": job.role,
        "replaced": len(made.replaced),
        "layers": len(made.layers),
        "memory_format": made.memory_format,
        "kernels": sorted({layer.kernel for layer in made.replaced}),
    }


def _result(job: Job, threads: int, made: Plan, turns: Turns, outputs: dict[str, Any]) -> Result:
    difference = relative_error(outputs[OURS], outputs[TORCH])
    scores = {name: job.quality(output) for name, output in outputs.items()}
    case = f"{job.name} {job.sizes}"
    rows = rows_from_turns(
        turns, job.name, case, ours=(OURS,), relative_difference=difference, **facts(job, made)
    )
    for row in rows:
        if job.score is not None:
            row.extra[job.score_name] = scores[row.contender]
        if job.simple_score is not None:
            row.extra[f"{job.simple_name} {job.score_name}"] = job.simple_score
    result = Result(threads, made, turns, outputs, scores, difference, rows)
    for row in rows:
        row.energy_j = result.energy(row.contender)
        row.extra |= judged_by_joules(job, scores, {row.contender: row.energy_j})
    return result
