"""Training and testing inside of the pipeline: Adam along a cosine, with the zeros of before kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import apply_masks, prunable, set_mask
from ..pruning import Pruner
from .data import Data, Split

PRUNED = 0.01  # share of exact zeros from which a layer counts as pruned: training makes none
TEST_BATCH = 500


@dataclass
class Job:
    """What every step gets besides the network.

    Attributes:
        data: to train and to test on.
        batch, seed: of training; the seed moves on with every epoch, so that no two have the same order.
        advance: told of the share of a step that is done.
        teacher: the most accurate network so far, for distillation; None before the first step.
    """

    data: Data
    batch: int
    seed: int
    advance: Callable[[float, str], None] = lambda share, note: None
    teacher: nn.Module | None = None
    epochs_done: int = field(default=0)

    def batches(self, split: Split, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch in an order of its own."""
        generator = torch.Generator().manual_seed(10_000 * self.seed + epoch)
        for index in torch.randperm(len(split.labels), generator=generator).split(self.batch):
            yield split.images[index], split.labels[index]


def task_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross entropy of a batch."""
    return F.cross_entropy(model(batch[0]), batch[1])


def fit(
    model: nn.Module,
    job: Job,
    epochs: int,
    rate: float,
    pruner: Pruner | None = None,
    extra: Callable[[], Tensor] | None = None,
) -> None:
    """Trains in place; what is zero because it was pruned stays so, whatever a later step trains for.

    Args:
        extra: added to the loss after each forward.

    Raises:
        ValueError: the loss is not a number.
    """
    _freeze_zeros(model)
    model.train()
    steps = -(-len(job.data.train.labels) // job.batch)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps * epochs))
    for epoch in range(epochs):
        for at, batch in enumerate(job.batches(job.data.train, job.epochs_done)):
            if pruner is not None:
                pruner.step()
            value = task_loss(model, batch)
            value = value if extra is None else value + extra()
            if not torch.isfinite(value):
                raise ValueError(
                    f"the loss must be a number, got {value.item()} in epoch {epoch + 1}, batch {at + 1}"
                )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            falling.step()
        job.epochs_done += 1
        job.advance((epoch + 1) / epochs, f"epoch {epoch + 1} of {epochs}")
    apply_masks(model)
    model.eval()


def _freeze_zeros(model: nn.Module) -> None:
    for module in prunable(model).values():
        kept = module.weight.detach() != 0
        if float(kept.float().mean()) <= 1 - PRUNED:
            set_mask(module, kept)


@torch.no_grad()
def right(output: Any, labels: Tensor) -> float:
    """Share of right answers of a batch, 0 to 1."""
    return float((output.argmax(1) == labels).float().mean())


@torch.no_grad()
def accuracy(model: nn.Module, split: Split) -> float:
    """Share of right answers, 0 to 1.

    Raises:
        ValueError: the network's answers are not numbers.
    """
    count = 0
    for images, labels in zip(split.images.split(TEST_BATCH), split.labels.split(TEST_BATCH), strict=True):
        output = model(images)
        if not torch.isfinite(output).all():
            raise ValueError("the accuracy must be a number, but the network's answers are not")
        count += int((output.argmax(1) == labels).sum())
    return count / len(split.labels)
