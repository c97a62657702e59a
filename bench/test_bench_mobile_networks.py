"""MobileNet-V2 with random weights, batch 1: torch in both memory formats against the network that `gk.plan` converts.

Random weights change no time. `greenkernels bench mobile_networks` runs the case in turns and writes rows; pytest runs
the converted network by itself (`pytest bench --benchmark-enable`), or, without that, a small one once.
"""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from greenkernels.measure.contender import Contender
from greenkernels.measure.rivals.task import NetworkTask
from greenkernels.measure.rotation import relative_error
from greenkernels.measure.suite import Case, Trial
from greenkernels.planning import plan
from greenkernels.planning.copying import copy_model
from greenkernels.planning.layout import run_channels_last

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from mobile_networks import MobileNetV2, settled

TOLERANCE = 1e-4  # relative: 50 layers in float32, each near 1e-6
SMALL = ((1, 8, 1, 1), (6, 16, 2, 2))
NAMES = ("torch NCHW", "torch channels_last", "greenkernels")


def prepare(size: int, measure: bool = True, **options: object) -> Trial:
    network = settled(MobileNetV2(**options))
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    made = plan(network, x, measure=measure, progress=False)
    calls = (network, run_channels_last(copy_model(network)), made.apply(network))
    exact = copy_model(network).double()
    return Trial(
        contenders=[Contender(name, call, keep=True) for name, call in zip(NAMES, calls, strict=True)],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=TOLERANCE,
        ours=frozenset(NAMES[2:]),
        task=NetworkTask(network, (x,)),
        extra={"shape": list(x.shape), "layers_in_blocks": sum(layer.block != () for layer in made.replaced)},
    )


TINY = partial(prepare, 33, rows=SMALL, stem=8, last=32, classes=10)
CASES = [
    Case("tiny mobilenetv2 33", TINY, quick=True, caches=("warm",)),
    Case("mobilenetv2 224", partial(prepare, 224), caches=("warm",)),
]


def test_a_case_is_ready():
    trial = prepare(33, measure=False, rows=SMALL, stem=8, last=32, classes=10)
    with torch.inference_mode():
        outputs = [contender.call(*trial.arguments) for contender in trial.contenders]
        assert all(relative_error(y, trial.reference(*trial.arguments)) <= trial.tolerance for y in outputs)


def test_speed(benchmark):
    if benchmark.disabled:
        pytest.skip("a full case; use --benchmark-enable")
    trial = prepare(224)
    (ours,) = (contender for contender in trial.contenders if contender.name in trial.ours)
    with torch.inference_mode():
        output = benchmark(ours.call, *trial.arguments)
        assert relative_error(output, trial.reference(*trial.arguments)) <= trial.tolerance
