"""Whole networks with random weights: what decides about time is their shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VGG16 = (
    64,
    64,
    "pool",
    128,
    128,
    "pool",
    256,
    256,
    256,
    "pool",
    512,
    512,
    512,
    "pool",
    512,
    512,
    512,
    "pool",
)


def vgg16(width: int = 64) -> nn.Sequential:
    """The 13 convolutions of VGG-16 (Simonyan and Zisserman, 2015); ``width`` channels in its first ones."""
    layers: list[nn.Module] = []
    channels = 3
    for item in VGG16:
        if isinstance(item, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, channels := item * width // 64, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and what skips them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Sequential()
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.downsample(x))


def resnet18(width: int = 64) -> nn.Sequential:
    """ResNet-18 (He et al., 2016) up to its pooled features; ``width`` channels in its first layers."""
    stem = (
        nn.Conv2d(3, width, 7, 2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    )
    blocks: list[nn.Module] = []
    channels = width
    for stage in range(4):
        for index in range(2):
            blocks.append(BasicBlock(channels, width << stage, 1 + (stage > 0 and index == 0)))
            channels = width << stage
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def input_for(batch: int, size: int, device: str) -> Tensor:
    """Pictures of that width and height."""
    return torch.randn(batch, 3, size, size, device=device)
