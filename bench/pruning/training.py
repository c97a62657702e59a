"""The networks of the story, and how they train: the same for dense and pruned ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import greenkernels as gk
from greenkernels.compress.pipeline.data import Split

BATCH = 128
RATE = 1e-3  # of Adam, for the dense networks
# For what is trained on, dense or pruned. With 1e-3 the CNN at 90 % zeros comes back to 0.6 points below the dense
# one, with 2e-3 to 0.3 (2 seeds, 10,000 of the training images held out).
RETRAIN_RATE = {"mlp": 1e-3, "cnn": 2e-3}
CALIBRATION = 16  # batches that importances take their gradients of
CUTS = 5  # times that the schedule prunes

Batch = tuple[Tensor, Tensor]


def mlp() -> nn.Module:
    """784-1024-1024-10: 1.9 million weights."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    )


def cnn() -> nn.Module:
    """Two convolutions and two fully connected layers: 0.4 million weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


NETWORKS = {"mlp": mlp, "cnn": cnn}


def batches(split: Split, epoch: int, seed: int = 0) -> Iterator[Batch]:
    """One epoch in an order that depends on its number and the seed alone."""
    generator = torch.Generator().manual_seed(10_000 * seed + epoch)
    order = torch.randperm(len(split.labels), generator=generator)
    for index in order.split(BATCH):
        yield split.inputs[index], split.labels[index]


def loss(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy."""
    return F.cross_entropy(model(batch[0]), batch[1])


@torch.no_grad()
def accuracy(model: nn.Module, split: Split) -> float:
    """Share of right answers, 0 to 1."""
    model.eval()
    right = 0
    for images, labels in zip(split.inputs.split(1000), split.labels.split(1000), strict=True):
        right += int((model(images).argmax(1) == labels).sum())
    return right / len(split.labels)


def train(
    model: nn.Module,
    split: Split,
    epochs: range,
    last: int,
    rate: float = RATE,
    pruner: gk.compress.Pruner | None = None,
    seed: int = 0,
) -> None:
    """Adam with a rate that falls along a cosine to 0 at the end of epoch ``last - 1``."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), rate, fused=True)
    steps = -(-len(split.labels) // BATCH)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * (last - epochs.start))
    for epoch in epochs:
        for batch in batches(split, epoch, seed):
            if pruner is not None:
                pruner.step()
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
            falling.step()


def pruner_for(
    model: nn.Module, split: Split, amount: float, importance: str, epochs: int, cuts: int = CUTS
) -> gk.compress.Pruner:
    """Cubic over the first half of ``epochs`` of retraining."""
    end = max(1, epochs * -(-len(split.labels) // BATCH) // 2)
    schedule = gk.compress.Cubic(amount, end=end, frequency=max(1, end // (cuts - 1)))
    calibration = [batch for batch, _ in zip(batches(split, 1000), range(CALIBRATION), strict=False)]
    return gk.compress.Pruner(model, schedule, importance=importance, loss=loss, batches=calibration)
