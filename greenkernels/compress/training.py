"""distill: one small loop, with progress and checkpoints, for those who have none of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..measure.progress import progress_bar
from .distillation import Distiller

TaskLoss = Callable[[Any, Any], Tensor]


def save_atomically(path: Path, state: Any) -> None:
    """``torch.save``, all or nothing: who is killed meanwhile finds the file of before."""
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


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
                save_atomically(path, _state(distiller, optimizer, means))
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


def _state(distiller: Distiller, optimizer: torch.optim.Optimizer, means: Sequence[float]) -> dict[str, Any]:
    return {
        "distiller": distiller.state_dict(),
        "optimizer": optimizer.state_dict(),
        "means": list(means),
        "random": torch.get_rng_state(),
    }


def _restore(path: Path, distiller: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    state = torch.load(path, weights_only=True)
    distiller.load_state_dict(state["distiller"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["means"]
