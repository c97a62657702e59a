"""The networks of the ready recipes, for images of 28x28 in one channel and ten classes."""

from __future__ import annotations

from torch import Tensor, nn


def classic() -> nn.Module:
    """Two convolutions of 5x5 with 6 and 16 channels and three Linear layers: 61,706 parameters.

    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE 1998, with
    ReLU and max pooling in the place of its squashing functions and averages.
    """
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


class Block(nn.Module):
    """``relu(x + conv(relu(conv(x))))`` with filters of 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, channels, h, w]``, as the input."""
        return self.relu(x + self.second(self.relu(self.first(x))))


def residual() -> nn.Module:
    """A residual network of 3x3 convolutions: 16 channels on 14x14, 32 on 7x7, one block each."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        Block(16),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        Block(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
