"""Whole networks of the zoo, one case each: torch in both memory formats against the converted network.

Heavy networks run where they are named, and with --all. `python -m greenkernels.zoo` judges the rows.
"""

from functools import partial

import pytest
import torch

from greenkernels import zoo
from greenkernels.measure.contender import Contender
from greenkernels.measure.rivals.task import NetworkTask
from greenkernels.measure.rotation import relative_error
from greenkernels.measure.suite import Case, CaseUnavailable, Trial
from greenkernels.planning import plan
from greenkernels.zoo.contest import (
    OURS,
    TORCH,
    TORCH_CHANNELS_LAST,
    WRONG,
    contestants,
    facts,
    float64_reference,
    judged_by_joules,
)


def prepare(name: str, measure: bool = True) -> Trial:
    try:
        job = zoo.load(name)
    except zoo.FetchError as problem:
        raise CaseUnavailable(str(problem)) from problem
    made = plan(job.network, job.inputs, measure=measure, progress=False)
    calls = contestants(job, made)
    with torch.inference_mode():
        outputs = {name: call(*job.inputs) for name, call in calls.items()}
    scores = {name: job.quality(output) for name, output in outputs.items()}
    joules = made.network.energy_after if made.accepted else made.network.energy_before
    return Trial(
        contenders=[Contender(name, call, keep=True) for name, call in calls.items()],
        arguments=job.inputs,
        reference=float64_reference(job.network),
        tolerance=WRONG,
        ours=frozenset((OURS,)),
        task=NetworkTask(job.network, job.inputs),
        extra={
            **facts(job, made),
            "shape": list(job.inputs[0].shape),
            "relative_difference": relative_error(outputs[OURS], outputs[TORCH]),
            "score": f"{job.score_name} {job.score_unit}".strip(),
            "scores": scores,
            "simple_score": job.simple_score,
            **judged_by_joules(job, scores, {TORCH: made.network.energy_before, OURS: joules}),
        },
    )


# A network is cold by itself: a layer's weights have been pushed out by all the others. There is no copy of a plan.
# Heavy ones take minutes: only where they are asked for.
CASES = [Case(n.name, partial(prepare, n.name), sweep=n.heavy, caches=("warm",)) for n in zoo.registered()]


def test_a_case_is_ready():
    try:
        trial = prepare("usps", measure=False)
    except CaseUnavailable as problem:
        pytest.skip(f"offline: {problem}")
    assert [c.name for c in trial.contenders] == [TORCH, TORCH_CHANNELS_LAST, OURS]
    assert trial.extra["replaced"] == 2  # by rule: one on its kernel, one for what follows it
    assert trial.extra["relative_difference"] <= 1e-5
    assert set(trial.extra["scores"].values()) == {trial.extra["scores"][TORCH]}


@pytest.mark.parametrize("network", zoo.registered(), ids=lambda network: network.name)
def test_speed(benchmark, network):
    if benchmark.disabled:
        pytest.skip("a full case; use --benchmark-enable")
    trial = prepare(network.name)
    ours = next(c for c in trial.contenders if c.name == OURS)
    with torch.inference_mode():
        output = benchmark(ours.call, *trial.arguments)
        expected = trial.reference(*trial.arguments)
    assert relative_error(output, expected) <= trial.tolerance
