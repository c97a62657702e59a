"""Mobile networks with random weights, in eval mode, written as torchvision and others write them."""

import torch
from torch import Tensor, nn


def conv_norm(in_c, out_c, kernel=1, stride=1, groups=1, activation=nn.ReLU6):
    layers = [
        nn.Conv2d(in_c, out_c, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_c),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation(inplace=True)]))


class InvertedResidual(nn.Module):
    """1x1, depthwise, 1x1, and the input added where shapes allow, as in MobileNet-V2."""

    def __init__(self, in_c: int, out_c: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = in_c * expand
        layers = [conv_norm(in_c, hidden)] if expand != 1 else []
        layers += [conv_norm(hidden, hidden, 3, stride, hidden)]
        self.conv = nn.Sequential(*layers, nn.Conv2d(hidden, out_c, 1, bias=False), nn.BatchNorm2d(out_c))
        self.residual = stride == 1 and in_c == out_c

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Sandler et al., CVPR 2018, table 2.

    Args:
        rows: expansion, output channels, blocks, stride of the first one.
        stem, last: output channels of the first and of the last convolution.
    """

    ROWS = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, rows=ROWS, stem: int = 32, last: int = 1280, classes: int = 1000) -> None:
        super().__init__()
        blocks, in_c = [conv_norm(3, stem, 3, 2)], stem
        for expand, out_c, count, stride in rows:
            for i in range(count):
                blocks.append(InvertedResidual(in_c, out_c, stride if i == 0 else 1, expand))
                in_c = out_c
        self.features = nn.Sequential(*blocks, conv_norm(in_c, last))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


def settled(model: nn.Module) -> nn.Module:
    """In eval mode, with statistics that keep the size of maps as training would."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return model.eval()


class TwoBranches(nn.Module):
    """A branch that ends in a depthwise pair, and one that is another such pair or a shortcut, added up."""

    def __init__(self, shortcut: bool, first: bool) -> None:
        super().__init__()
        self.pair = self._pair()
        self.other = conv_norm(16, 16, activation=None) if shortcut else self._pair()
        self.first = first

    def _pair(self) -> nn.Module:
        return nn.Sequential(conv_norm(16, 16, 3, groups=16), conv_norm(16, 16, activation=None))

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            return (self.pair(x) + self.other(x)).relu()
        other = self.other(x)
        return (other + self.pair(x)).relu()
