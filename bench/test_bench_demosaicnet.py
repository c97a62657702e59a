"""A whole network: demosaicnet on the mosaic of a photo, torch in both memory formats against the converted one."""

import pytest
import torch

from greenkernels import zoo
from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.planning import plan
from greenkernels.zoo.contest import OURS, TORCH, TORCH_CHANNELS_LAST, WRONG, contestants, float64_reference


def prepare() -> Trial:
    job = zoo.load("demosaicnet")
    made = plan(job.network, job.inputs, progress=False)
    calls = contestants(job, made)
    with torch.inference_mode():
        outputs = {name: call(*job.inputs) for name, call in calls.items()}
    stock = outputs[TORCH].double()
    return Trial(
        contenders=[Contender(name, call, keep=True) for name, call in calls.items()],
        arguments=job.inputs,
        reference=float64_reference(job.network),
        tolerance=WRONG,
        ours=frozenset((OURS,)),
        extra={
            "shape": list(job.inputs[0].shape),
            "scores_psnr_db": {name: job.score(output) for name, output in outputs.items()},
            "bilinear_psnr_db": job.simple_score,
            "relative_difference": float((outputs[OURS].double() - stock).norm() / stock.norm()),
            "replaced": [len(made.replaced), len(made.layers)],
            "memory_format": made.memory_format,
            "kernels": sorted({layer.kernel for layer in made.replaced}),
        },
    )


CASES = [Case("demosaicnet 1x3x300x451", prepare)]


@pytest.mark.parametrize("contender", [TORCH, TORCH_CHANNELS_LAST, OURS])
def test_speed(benchmark, contender):
    if benchmark.disabled:
        pytest.skip("a full case; use --benchmark-enable")
    trial = prepare()
    chosen = next(c for c in trial.contenders if c.name == contender)
    with torch.inference_mode():
        output = benchmark(chosen.call, *trial.arguments)
        expected = trial.reference(*trial.arguments)
    assert float((output - expected).norm() / expected.norm()) <= trial.tolerance
