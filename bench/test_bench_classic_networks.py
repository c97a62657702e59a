"""VGG-16, ResNet-18, ResNet-50 and MobileNet-V2, batch 1: torch in both memory formats against what becomes of them.

Each network is converted by `gk.plan` in float32 and in 8 bits; "90% zeros" are cases of their own, since a pruned
network computes something else: there the sparse layers stand beside the dense ones on the same weights. Random weights
change no time. `greenkernels bench classic_networks --peers` also runs torch.compile and other engines in turns, and
writes rows; pytest runs each contender by itself (`pytest bench --benchmark-enable`), or, without that, small networks.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import greenkernels as gk
from greenkernels.measure.contender import Contender
from greenkernels.measure.rivals.task import NetworkTask
from greenkernels.measure.rotation import relative_error
from greenkernels.measure.suite import Case, Trial
from greenkernels.planning.copying import copy_model
from greenkernels.planning.layout import run_channels_last

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests")]
from classic_networks import pictures, resnet18, resnet50, vgg16
from mobile_networks import MobileNetV2, settled

TOLERANCE = 1e-4  # relative: 50 layers in float32, each near 1e-6
# Of 8 bits, relative: a step is 1/127 of the largest weight or value, an error of about 1 % a layer; errors of layers
# add up like noise, 53 of them to 7 %. Random weights do not forget any of it. Twice that is a mistake, no rounding.
INT8_TOLERANCE = 0.15
INT8 = {"int8_gemm", "int8_conv2d"}
ZEROS = 0.9
PLAN_S = 60.0  # of planning, at most: what a user is told that it takes
STOCK = ("torch NCHW", "torch channels_last")
OURS, OURS_INT8, OURS_SPARSE = "greenkernels", "greenkernels int8", "greenkernels sparse"
TINY = {"rows": ((1, 8, 1, 1), (6, 16, 2, 2)), "stem": 8, "last": 32, "classes": 10}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "tiny mobilenetv2 33": (partial(MobileNetV2, **TINY), 33),
    "tiny resnet18 33": (partial(resnet18, width=8, classes=10), 33),
    "vgg16 224": (vgg16, 224),
    "resnet18 224": (resnet18, 224),
    "resnet50 224": (resnet50, 224),
    "mobilenetv2 224": (MobileNetV2, 224),
}


def stock_contenders(network: nn.Module) -> list[Contender]:
    calls = (network, run_channels_last(copy_model(network)))
    return [Contender(name, call, keep=True) for name, call in zip(STOCK, calls, strict=True)]


def planned(network: nn.Module, x: torch.Tensor, measure: bool) -> tuple[nn.Module, dict[str, object]]:
    """The converted network, and what a row says of it."""
    made = gk.plan(network, x, measure=measure, time_budget=PLAN_S, progress=False)
    blocks = sum(layer.block != () for layer in made.replaced)
    return made.apply(network), {"replaced": len(made.replaced), "layers_in_blocks": blocks}


def in_int8(network: nn.Module, x: torch.Tensor) -> nn.Module:
    """Every layer that is wide enough in 8 bits, by rule: what is asked here is how fast, not how good."""
    made = gk.plan(network, x, precision=INT8, max_error=float("inf"), measure=False, progress=False)
    return made.apply(network)


def prepare(make: Callable[[], nn.Module], size: int, measure: bool = True) -> Trial:
    network, x = settled(make()), pictures(1, size)
    exact = copy_model(network).double()
    converted, facts = planned(network, x, measure)
    ours = [
        Contender(OURS, converted, keep=True),
        Contender(OURS_INT8, in_int8(network, x), tolerance=INT8_TOLERANCE),
    ]
    return Trial(
        contenders=[*stock_contenders(network), *ours],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=TOLERANCE,
        ours=frozenset(contender.name for contender in ours),
        task=NetworkTask(network, (x,)),
        extra={"shape": list(x.shape), **facts},
    )


def prepare_pruned(make: Callable[[], nn.Module], size: int, measure: bool = True) -> Trial:
    """The smallest weights of each layer are zeros; layers that see one or three channels keep all of theirs."""
    network, x = settled(make()), pictures(1, size)
    gk.compress.prune(network, ZEROS, scope="layer", layers=lambda name, module: module.weight.shape[1] > 3)
    sparse = gk.compress.to_sparse(network, warn=False)
    gk.compress.apply_masks(network)
    exact = copy_model(network).double()
    converted, facts = planned(network, x, measure)
    ours = [Contender(OURS, converted, keep=True), Contender(OURS_SPARSE, sparse)]
    return Trial(
        contenders=[*stock_contenders(network), *ours],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=TOLERANCE,
        ours=frozenset(contender.name for contender in ours),
        task=NetworkTask(network, (x,)),
        extra={"shape": list(x.shape), "network_zeros": ZEROS, **facts},
    )


# A network is cold by itself, see docs/measuring.md.
CASES = [
    *(
        Case(name, partial(prepare, *network), quick=name.startswith("tiny"), caches=("warm",))
        for name, network in NETWORKS.items()
    ),
    *(
        Case(f"{name} 90% zeros", partial(prepare_pruned, *network), caches=("warm",))
        for name, network in NETWORKS.items()
        if not name.startswith("tiny")
    ),
]


@pytest.mark.parametrize("make", [prepare, prepare_pruned])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("tiny")])
def test_a_case_is_ready(name, make):
    trial = make(*NETWORKS[name], measure=False)
    assert len(trial.contenders) == len(STOCK) + 2
    with torch.inference_mode():
        for contender in trial.contenders:
            bound = contender.tolerance or trial.tolerance
            assert (
                relative_error(contender.call(*trial.arguments), trial.reference(*trial.arguments)) <= bound
            )


@pytest.mark.parametrize("case", [case for case in CASES if not case.quick], ids=lambda case: case.name)
@pytest.mark.parametrize("number", range(len(STOCK) + 2))
def test_speed(benchmark, case, number):
    if benchmark.disabled:
        pytest.skip("a full case; use --benchmark-enable")
    trial = case.prepare()
    chosen = trial.contenders[number]
    benchmark.group = f"{case.name}: {chosen.name}"
    with torch.inference_mode():
        output = benchmark(chosen.call, *trial.arguments)
        bound = chosen.tolerance or trial.tolerance
        assert relative_error(output, trial.reference(*trial.arguments)) <= bound
