"""VGG-16 and ResNets as their papers give them, with random weights: what decides about time is shapes.

MobileNet-V2 is in tests/mobile_networks.py, which tests need too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of a stage


def vgg16(width: int = 64, hidden: int = 4096, classes: int = 1000) -> nn.Sequential:
    """Simonyan and Zisserman, ICLR 2015, configuration D, for 224 x 224; ``width`` channels in its first stage."""
    layers: list[nn.Module] = []
    channels = 3
    for of_stage, count in VGG16:
        for _ in range(count):
            layers += [nn.Conv2d(channels, channels := of_stage * width // 64, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    head = [nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(49 * channels, hidden), nn.ReLU()]
    return nn.Sequential(
        *layers, *head, nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)
    ).eval()


def conv_norm(in_c: int, out_c: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_c, out_c, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out_c)
    )


class Residual(nn.Module):
    """A branch and what skips it: two 3x3, or 1x1, 3x3, 1x1 with four times the channels at its end."""

    def __init__(self, in_c: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out_c = 4 * width if bottleneck else width
        first = conv_norm(in_c, width, 1) if bottleneck else conv_norm(in_c, width, 3, stride)
        middle = [nn.ReLU(inplace=True), conv_norm(width, width, 3, stride)] if bottleneck else []
        last = conv_norm(width, out_c, 1 if bottleneck else 3)
        self.branch = nn.Sequential(first, *middle, nn.ReLU(inplace=True), last)
        same = stride == 1 and in_c == out_c
        self.shortcut = nn.Identity() if same else conv_norm(in_c, out_c, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.shortcut(x))


class ResNet(nn.Module):
    """He et al., CVPR 2016, table 1; the 50-layer one with its stride in the 3x3, as everybody runs it."""

    def __init__(
        self, blocks: tuple[int, ...], bottleneck: bool, width: int = 64, classes: int = 1000
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        layers, in_c = [], width
        for stage, count in enumerate(blocks):
            of_stage = width << stage
            for i in range(count):
                layers.append(Residual(in_c, of_stage, 2 if stage and i == 0 else 1, bottleneck))
                in_c = 4 * of_stage if bottleneck else of_stage
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(in_c, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layers(self.stem(x)).mean((2, 3)))


def resnet18(**options: int) -> nn.Module:
    return ResNet((2, 2, 2, 2), bottleneck=False, **options).eval()


def resnet50(**options: int) -> nn.Module:
    return ResNet((3, 4, 6, 3), bottleneck=True, **options).eval()


def pictures(batch: int, size: int) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
