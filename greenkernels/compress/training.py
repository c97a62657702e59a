"""distill: one small loop, with progress and checkpoints, for those who have none of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..measure.progress import progress_bar
from ..saving import read_tensors, write_tensors
from .distillation import Distiller

TaskLoss = Callable[[Any, Any], Tensor]


def distill(
    distiller: Distiller,
    batches: Iterable[tuple[Any, Any]],
    *,
    epochs: int,
    loss: TaskLoss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    checkpoint: Path | str | None = None,
    progress: bool = True,
) -> list[float]:
    """Trains the student of a `Distiller` on ``loss(output, target) + distiller.loss()``.

    With a checkpoint the state of student, adapters, optimizer and random numbers is written after each epoch, all or
    nothing, and a call that finds one goes on behind it. For schedules, several GPUs and the like write a loop of your
    own: all that it needs is in `Distiller`.

    Args:
        distiller: in the mode in which it is to train.
        batches: pairs (inputs, target), gone through once an epoch; inputs are a tensor or a tuple of arguments.
        epochs: in all, those of before an interruption included.
        loss: what the task itself asks for; None: the teacher alone.
        optimizer: of ``distiller.parameters()``; default: Adam with a rate of 1e-3.
        checkpoint: file to write to and to go on from.
        progress: whether to draw a bar, on a terminal.

    Returns:
        The mean loss of each epoch.

    Raises:
        ValueError: no batches; a loss that is not a number, with the epoch and what is kept of it.
    """
    path = None if checkpoint is None else Path(checkpoint)
    optimizer = optimizer or torch.optim.Adam(distiller.parameters(), 1e-3)
    means: list[float] = []
    if path is not None and path.exists():
        means = _restore(path, distiller, optimizer)
    with progress_bar("distill", progress) as advance:
        for epoch in range(len(means), epochs):
            means.append(_epoch(distiller, batches, loss, optimizer, epoch))
            if path is not None:
                _write(path, distiller, optimizer, means)
            advance((epoch + 1) / epochs, f"loss {means[-1]:.4g}")
    return means


def _epoch(
    distiller: Distiller,
    batches: Iterable[tuple[Any, Any]],
    loss: TaskLoss | None,
    optimizer: torch.optim.Optimizer,
    epoch: int,
) -> float:
    total, count = 0.0, 0
    for inputs, target in batches:
        output = distiller(*(inputs if isinstance(inputs, tuple) else (inputs,)))
        value = distiller.loss()
        if loss is not None:
            value = value + loss(output, target)
        if not torch.isfinite(value):
            raise ValueError(
                f"distill: the loss must be a number, got {value.item()} at step {count} of epoch {epoch}; the "
                "checkpoint is that of the epoch before"
            )
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total, count = total + value.item(), count + 1
    if not count:
        raise ValueError("distill: batches must hold at least one batch in every epoch, got none")
    return total / count


def _write(
    path: Path, distiller: nn.Module, optimizer: torch.optim.Optimizer, means: Sequence[float]
) -> None:
    """A safetensors file: tensors under the names of what they belong to, all else as JSON in its metadata."""
    found = optimizer.state_dict()
    tensors = {f"distiller.{name}": value for name, value in distiller.state_dict().items()}
    plain: dict[str, dict[str, Any]] = {}
    for index, values in found["state"].items():
        plain[str(index)] = {name: v for name, v in values.items() if not isinstance(v, Tensor)}
        tensors |= {f"optimizer.{index}.{n}": v for n, v in values.items() if isinstance(v, Tensor)}
    tensors["random"] = torch.get_rng_state()
    rest = {"means": list(means), "groups": found["param_groups"], "state": plain}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, {"distill": json.dumps(rest)})


def _restore(path: Path, distiller: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    tensors, about = read_tensors(path)
    if "distill" not in about:
        raise ValueError(f"distill: {path} must be a checkpoint of distill, got another file")
    rest = json.loads(about["distill"])
    torch.set_rng_state(tensors.pop("random"))
    state: dict[int, dict[str, Any]] = {int(index): values for index, values in rest["state"].items()}
    own: dict[str, Tensor] = {}
    for name, value in tensors.items():
        of, _, key = name.partition(".")
        if of == "distiller":
            own[key] = value
        else:
            index, _, key = key.partition(".")
            state[int(index)][key] = value
    distiller.load_state_dict(own)
    optimizer.load_state_dict({"state": state, "param_groups": rest["groups"]})
    return rest["means"]
