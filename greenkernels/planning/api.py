"""gk.plan and gk.optimize: what a user calls; checks the arguments, then `planner` does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .. import _build
from ..measure.clock import Clock, CudaClock
from ..measure.progress import progress_bar
from . import records
from .cache import Cache
from .copying import copy_model, torch_state_kept
from .fingerprint import environment
from .joules import on_cuda
from .planner import Planner
from .plans import Plan
from .quality import Inputs
from .refusals import require_plannable
from .request import Settings, arguments, bounds, settings
from .schedules import Budget


def plan(
    model: nn.Module,
    example_inputs: Tensor | tuple[Any, ...] | list[Any] | dict[str, Any],
    *,
    objective: str = "latency",
    max_error: float = 1e-5,
    metric: Callable[[Any], float] | None = None,
    max_drop: float | None = None,
    metric_of: str = "output",
    calibration: Iterable[Any] | None = None,
    precision: str | set[str] = "float32",
    measure: bool = True,
    time_budget: float | None = None,
    max_memory: int | None = None,
    strict: bool = False,
    seed: int = 0,
    cache: bool = True,
    progress: bool = True,
    clock: Clock | None = None,
) -> Plan:
    """Find out which layers of a network run better with another kernel. Changes nothing.

    A layer is replaced only where it is better by the objective and not slower beyond noise, and a plan is accepted
    only if the same holds for the whole converted network against the stock one (in NCHW and in channels_last,
    whichever is faster) in turns of their own.

    Args:
        model: in eval mode, on the CPU or a GPU; it is copied, never changed. On a GPU its stock layers run as torch
            is set up: in TF32 where ``torch.backends.cudnn.allow_tf32`` is left on, beside our strict float32.
        example_inputs: what ``model`` is called with: a tensor, a tuple of arguments, or a dict of keyword arguments.
        objective: "latency" (s), "energy" (J) or "edp" (J s). Times are measured. Joules of layers are modelled from
            counts, see `greenkernels.energy`; where energy or edp is asked for without a time budget and a counter of
            energy can be read, those of both whole networks are measured and shared out over their layers.
        max_error: bound on ||y - y_ref|| / ||y_ref|| of the whole network, on the example inputs, on variations of
            them, and on the calibration inputs; ``math.inf`` for none.
        metric: quality, the higher the better: of an output of the network, or of the model (see ``metric_of``). Taken
            on the example inputs and on each calibration input.
        max_drop: how much of the metric may be lost; default 0.
        metric_of: "output" or "model": what ``metric`` is called with.
        calibration: more inputs to check ``max_error`` and ``metric`` on, each spelled as ``example_inputs``.
        precision: "float32", "int8" (8-bit kernels too, layer by layer, under ``max_error`` and ``metric``), or the
            names of the kernels that may be used.
        measure: False chooses by rules without timing: the same plan on every machine.
        time_budget: seconds to spend on timing, about; None for as long as verdicts take. Layers that take longest
            come first; the whole network gets its fewest rounds in any case.
        max_memory: bytes that packed weights and scratch memory of the plan may need; None for no limit.
        strict: replaced layers raise where they would fall back to torch, and so does a network that cannot run
            converted.
        seed: of torch's random numbers while planning.
        cache: read and write measurements on disk; see `docs/optimize.md`.
        progress: show a bar where it takes longer than two seconds.
        clock: where seconds come from; for tests.

    Raises:
        ValueError: the model is in training mode, compiled, scripted, wrapped or not initialised, its output holds no
            tensor, or an argument is out of range.
    """
    require_plannable(model, "plan")
    asked = settings(
        objective,
        precision,
        bounds(max_error, metric, max_drop, metric_of, calibration),
        measure=measure,
        time_budget=time_budget,
        max_memory=max_memory,
        strict=strict,
        seed=seed,
        cache=_cache(cache),
        clock=clock or (CudaClock() if on_cuda(model) else Clock()),
    )
    return _plan(model, arguments(example_inputs), asked, progress)


def optimize(model: nn.Module, example_inputs: Any, **options: Any) -> nn.Module:
    """A copy of `model` that is better where that was measured, and the stock network where it was not.

    ``plan(model, example_inputs, **options).apply(model)``; see `plan` for the options, `explain` for what was done.
    """
    return plan(model, example_inputs, **options).apply(model)


def _cache(wanted: bool) -> Cache:
    if not isinstance(wanted, bool):
        raise ValueError(f"plan: cache must be True or False, got {wanted!r}")
    _build.ensure_loaded()  # which kernels there are is part of every key
    return Cache(environment()) if wanted else Cache()


def _plan(model: nn.Module, inputs: Inputs, asked: Settings, progress: bool) -> Plan:
    budget = Budget(asked.time_budget, asked.clock)
    with torch_state_kept(), torch.inference_mode(False), progress_bar("planning", progress) as advance:
        torch.manual_seed(asked.seed)
        key = records.plan_key(model, inputs, asked)
        known = records.read_plan(asked.cache, key)
        if known is not None:
            return known
        planner = Planner(copy_model(model), inputs, asked, advance, budget)
        made = planner.plan()
        if not planner.interrupted and not made.network.undecided:
            records.write_plan(asked.cache, key, made)
        return made
