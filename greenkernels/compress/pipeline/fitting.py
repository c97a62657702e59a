"""Training and testing inside of the pipeline: Adam along a cosine, with the zeros of before kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
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
        notes: file of a step that keeps what it knows so far, to go on from; None for none.
    """

    data: Data
    batch: int
    seed: int
    advance: Callable[[float, str], None] = lambda share, note: None
    teacher: nn.Module | None = None
    notes: Path | None = None
    epochs_done: int = field(default=0)

    def batches(self, split: Split, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch in an order of its own."""
        generator = torch.Generator().manual_seed(10_000 * self.seed + epoch)
        for index in torch.randperm(len(split.labels), generator=generator).split(self.batch):
            yield split.inputs[index], split.labels[index]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Of a batch. Raises ValueError where the data is only to judge by."""
        if self.data.loss is None:
            raise ValueError(
                f"nothing can be trained on the data {self.data.name!r}, which is only to judge by"
            )
        return self.data.loss(model(batch[0]), batch[1])


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
            value = job.loss(model, batch)
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
def accuracy(model: nn.Module, data: Data) -> float:
    """What the judge of the data says of all test inputs, 0 to 1.

    Raises:
        ValueError: the network's answers, or what the judge says of them, are no numbers.
    """
    outputs = torch.cat([model(inputs) for inputs in data.test.inputs.split(TEST_BATCH)])
    if not torch.isfinite(outputs).all():
        raise ValueError("the accuracy must be a number, but the network's answers are not")
    found = float(data.judge(outputs, data.test.labels))
    if not math.isfinite(found):
        raise ValueError(f"the accuracy must be a number, got {found}")
    return found
