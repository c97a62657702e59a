"""The steps of a recipe. Each is a function of network, job and options that gives a network in eval mode."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from ...nn import PairedMaxPool2d
from ..channels import shrink
from ..conversion import to_sparse
from ..costs import measured_seconds, modelled_joules
from ..distillation import Distiller
from ..factorization import factorize
from ..layers import apply_masks, prunable
from ..pruning import Pruner
from ..pruning import prune as at_once
from ..quantization import QuantizationAware, finish_shared, share
from ..quantization import quantize as to_few_bits
from ..schedules import Cubic
from ..search import search
from ..sensitivity import sensitivity
from .data import spread_over
from .fitting import Job, accuracy, fit
from .structure import require_known

CALIBRATION = 16  # batches that scores by gradients are taken of
PRUNINGS = 5  # times that the schedule prunes
LOOKED = 500  # training inputs that a search asks for the quality of
TIMED_INPUTS = 64  # of the batch that networks are planned for


class Kind(NamedTuple):
    """A kind of step.

    Attributes:
        run: the function.
        options: name -> default; an option has the type of its default.
    """

    run: Callable[..., nn.Module]
    options: dict[str, Any]


def train(model: nn.Module, job: Job, *, epochs: int, rate: float) -> nn.Module:
    """On the data alone."""
    fit(model, job, epochs, rate)
    return model


def prune(
    model: nn.Module,
    job: Job,
    *,
    amount: float,
    importance: str,
    structure: str,
    scope: str,
    epochs: int,
    rate: float,
) -> nn.Module:
    """Along a cubic schedule over the first half of retraining, at once without; whole channels leave the network.

    Of whole channels those of the layer that is called last stay: they are the answers.
    """
    calibration = [
        batch for batch, _ in zip(job.batches(job.data.train, -1), range(CALIBRATION), strict=False)
    ]
    chosen = {
        "importance": importance,
        "structure": structure,
        "scope": scope,
        "layers": _called(model, job)[:-1] if structure == "channels" else None,
        "loss": job.loss,
        "batches": calibration,
    }
    if not epochs:
        model = apply_masks(at_once(model, amount, **chosen))
    else:
        end = max(1, epochs * -(-len(job.data.train.labels) // job.batch) // 2)
        schedule = Cubic(amount, end=end, frequency=max(1, end // (PRUNINGS - 1)))
        fit(model, job, epochs, rate, Pruner(model, schedule, **chosen))
    return shrink(model).eval() if structure == "channels" else model


@torch.no_grad()
def _called(model: nn.Module, job: Job) -> list[str]:
    """Names of the layers that can be pruned, in the order of their last calls."""
    order: dict[str, None] = {}
    handles = []
    for name, module in prunable(model).items():

        def note(*_: Any, name: str = name) -> None:
            order.pop(name, None)
            order[name] = None

        handles.append(module.register_forward_hook(note))
    model.eval()(job.data.test.inputs[:1])
    for handle in handles:
        handle.remove()
    return list(order)


def factor(model: nn.Module, job: Job, *, budget: float, cost: str, epochs: int, rate: float) -> nn.Module:
    """`factorize` within a share of operations or modelled joules, then training."""
    small = factorize(model.eval(), job.data.test.inputs[:1], budget=budget, cost=cost)
    fit(small, job, epochs, rate)
    return small


def distill(
    model: nn.Module, job: Job, *, epochs: int, rate: float, temperature: float, logits: float
) -> nn.Module:
    """On the data and on what the most accurate network so far says."""
    if job.teacher is None:
        raise ValueError("there is no network to learn from before the first step")
    distiller = Distiller(
        model, copy.deepcopy(job.teacher), job.data.test.inputs[:1], logits=logits, temperature=temperature
    )
    fit(distiller, job, epochs, rate, extra=distiller.loss)
    return model.eval()


def sparse(model: nn.Module, job: Job, *, at_least: float) -> nn.Module:
    """Layers that store and multiply their nonzeros alone, where there are zeros enough."""
    return to_sparse(model.eval(), at_least=at_least, warn=False)


def pool(model: nn.Module, job: Job) -> nn.Module:
    """Max pooling of 2x2 by pairs, and a ReLU before it, in an ``nn.Sequential``, behind it: the same on a quarter."""
    model = copy.deepcopy(model).eval()
    for parent in model.modules():
        for name, module in list(parent.named_children()):
            try:
                setattr(parent, name, PairedMaxPool2d.from_module(module))
            except ValueError:
                continue  # no max pooling, or another one
        if isinstance(parent, nn.Sequential):
            for at, (first, second) in enumerate(itertools.pairwise(list(parent))):
                if type(first) is nn.ReLU and isinstance(second, PairedMaxPool2d):
                    parent[at], parent[at + 1] = second, first
    return model


def quantize(
    model: nn.Module, job: Job, *, bits: int, rounding: str, correct_bias: bool, epochs: int, rate: float
) -> nn.Module:
    """Linear and Conv2d in integers, inputs quantized at each call; with epochs, trained with rounding first."""
    if epochs:
        aware = QuantizationAware(model, bits)
        fit(aware, job, epochs, rate)
        return aware.finished()
    seen = [x for (x, _), _ in zip(job.batches(job.data.train, -1), range(CALIBRATION), strict=False)]
    return to_few_bits(model.eval(), bits, batches=seen, rounding=rounding, correct_bias=correct_bias)


def share_weights(
    model: nn.Module, job: Job, *, bits: int, values: str, group: int, epochs: int, rate: float
) -> nn.Module:
    """Codebooks, trained on, then layers that store the places of their weights in them."""
    shared = share(model.eval(), bits, values=values, group=group)
    if epochs:
        fit(shared, job, epochs, rate)
    return finish_shared(shared)


def layout(model: nn.Module, job: Job, *, channels_last: bool) -> nn.Module:
    """Weights, and with them the maps of all convolutions, in channels_last or in torch's default format."""
    return model.eval().to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def optimize(model: nn.Module, job: Job, *, precision: str, objective: str, max_error: float) -> nn.Module:
    """`greenkernels.optimize` on some of the test inputs: kernels that were measured to be faster."""
    from ...planning import optimize as plan_and_apply

    inputs = job.data.sample(min(TIMED_INPUTS, job.data.timed)).inputs
    with torch.no_grad():
        return plan_and_apply(
            model.eval(),
            inputs,
            precision=precision,
            objective=objective,
            max_error=max_error,
            progress=False,
        )


def search_methods(
    model: nn.Module, job: Job, *, methods: list[str], cost: str, budget: float, lost: float
) -> nn.Module:
    """`sensitivity`, then `search`, on training inputs: a method for each layer, kernels included."""
    model, inputs = model.eval(), job.data.sample(min(TIMED_INPUTS, job.data.timed)).inputs
    looked = replace(job.data, test=spread_over(job.data.train, LOOKED))
    makers = {
        "bytes": lambda: None,
        "joules": lambda: modelled_joules(inputs),
        "seconds": lambda: measured_seconds(model, inputs),
    }
    if cost not in makers:
        raise ValueError(f"cost must be one of {', '.join(makers)}, got {cost!r}")
    of, metric = makers[cost](), partial(accuracy, data=looked)
    found = sensitivity(model, metric, methods=methods, cost=of, path=job.notes, progress=False)
    return require_known(search(model, metric, found, floor=found.quality - lost, budget=budget, cost=of))


STEPS = {
    "train": Kind(train, {"epochs": 4, "rate": 1e-3}),
    "prune": Kind(
        prune,
        {
            "amount": 0.9,
            "importance": "magnitude",
            "structure": "unstructured",
            "scope": "global",
            "epochs": 4,
            "rate": 2e-3,
        },
    ),
    "factorize": Kind(factor, {"budget": 0.5, "cost": "flops", "epochs": 2, "rate": 1e-3}),
    "distill": Kind(distill, {"epochs": 2, "rate": 1e-3, "temperature": 4.0, "logits": 1.0}),
    "sparse": Kind(sparse, {"at_least": 0.6}),
    "quantize": Kind(
        quantize, {"bits": 8, "rounding": "nearest", "correct_bias": False, "epochs": 0, "rate": 2e-4}
    ),
    "share": Kind(share_weights, {"bits": 4, "values": "k-means", "group": 0, "epochs": 2, "rate": 2e-4}),
    "search": Kind(
        search_methods,
        {"methods": ["int8", "int4"], "cost": "bytes", "budget": 0.0, "lost": 0.005},
    ),
    "pool": Kind(pool, {}),
    "layout": Kind(layout, {"channels_last": True}),
    "optimize": Kind(optimize, {"precision": "float32", "objective": "latency", "max_error": 1e-3}),
}
FINAL = frozenset(
    {"sparse", "quantize", "search", "share", "pool", "layout", "optimize"}
)  # what they make is not trained on by this pipeline
