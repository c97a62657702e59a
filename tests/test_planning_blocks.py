"""Blocks of mobile networks in traced networks: which are found, and why others are not."""

import copy

import pytest
import torch
from mobile_networks import MobileNetV2, conv_norm, settled
from torch import nn

from greenkernels.planning import candidates
from greenkernels.planning.survey import survey

X = torch.randn(2, 16, 9, 11, generator=torch.Generator().manual_seed(1))
SMALL = ((1, 8, 1, 1), (6, 16, 2, 2), (4, 16, 1, 1))


def found(model, x=X):
    """Depthwise convolution -> names of the layers of its block, or why there is none."""
    stems = [stem for stem in candidates.registered() if not stem.lossy]
    sites, _ = survey(copy.deepcopy(model), lambda network: network(x), stems)
    blocks = {site.block.layers[-2]: site.block for site in sites if site.block}
    reasons = {site.name: site.no_block for site in sites if site.no_block}
    assert not blocks.keys() & reasons.keys()
    return {name: block.layers for name, block in blocks.items()} | reasons, blocks


def test_finds_the_blocks_of_mobilenet_v2():
    of, blocks = found(settled(MobileNetV2(SMALL, 12, 32)), torch.randn(1, 3, 17, 19))
    assert of == {
        "features.1.conv.0.0": ("features.1.conv.0.0", "features.1.conv.1"),
        **{
            f"features.{i}.conv.1.0": tuple(f"features.{i}.conv.{j}" for j in ("0.0", "1.0", "2"))
            for i in (2, 3, 4)
        },
    }
    last = {name: str(block.chains[-1]) for name, block in blocks.items()}
    assert list(last.values()) == ["norm", "norm", "norm + add", "norm + add"]
    assert {block.chains[0].container for block in blocks.values()} == {"features"}


def test_finds_pairs_in_a_row():
    """MobileNet-V1: a 1x1 convolution ends the block before, and so begins none."""

    def pair(in_c, out_c):
        return nn.Sequential(conv_norm(in_c, in_c, 3, 1, in_c), conv_norm(in_c, out_c))

    of, _ = found(settled(nn.Sequential(conv_norm(16, 16), pair(16, 24), pair(24, 8))))
    assert of == {
        "1.0.0": ("0.0", "1.0.0", "1.1.0"),  # what is before the first pair may well belong to it
        "2.0.0": ("2.0.0", "2.1.0"),
    }


class Between(nn.Module):
    """A pair of layers with what a function makes of the map between them."""

    def __init__(self, between, **options):
        super().__init__()
        self.depthwise = nn.Conv2d(16, 16, 3, **({"padding": 1, "groups": 16} | options))
        self.project = nn.Conv2d(16, 8, 1)
        self.norm, self.pool, self.mish = nn.BatchNorm2d(16), nn.AdaptiveAvgPool2d(1), nn.Mish()
        self.drop, self.wide = nn.Dropout(), nn.Conv2d(16, 8, 3, padding=1)
        self.between = between

    def forward(self, x):
        return self.between(self, x)


def squeeze_and_excite(m, x):
    y = torch.relu(m.depthwise(x))
    return m.project(y * torch.sigmoid(m.pool(y)))


@pytest.mark.parametrize(
    ("between", "options", "reason"),
    [
        (squeeze_and_excite, {}, "its output goes to AdaptiveAvgPool2d and mul"),
        (lambda m, x: m.project(m.mish(m.depthwise(x))), {}, "Mish follows it, not a 1x1 convolution"),
        (lambda m, x: m.project(m.norm(torch.relu(m.depthwise(x)))), {}, "BatchNorm2d follows it, not a"),
        (lambda m, x: m.wide(m.depthwise(x)), {}, "Conv2d follows it, not a 1x1 convolution"),
        (lambda m, x: m.depthwise(x), {}, "what calls Between follows it, not a 1x1 convolution"),
        (lambda m, x: m.project(m.depthwise(x) + x), {}, "add behind it is not computed within a block"),
        (
            lambda m, x: m.project(nn.functional.leaky_relu(m.depthwise(x))),
            {},
            "leaky_relu behind it is not computed within a block",
        ),
        (lambda m, x: m.project(m.depthwise(m.depthwise(x))), {}, "it is called in several places"),
        (
            lambda m, x: m.project(m.depthwise(x)),
            {"padding": "same"},
            "padding='same' with zeros is not known",
        ),
        (
            lambda m, x: m.project(m.depthwise(x)),
            {"padding_mode": "reflect"},
            "padding=(1, 1) with reflect is not known to the kernel of a block",
        ),
        (
            lambda m, x: m.project(m.depthwise(x)) if x.sum() < 1e9 else x,
            {},
            "no forward around it can be traced",
        ),
    ],
)
def test_says_why_there_is_no_block(between, options, reason):
    of, _ = found(settled(Between(between, **options)))
    assert of["depthwise"].startswith(reason)


def test_says_that_a_norm_is_being_trained():
    model = settled(Between(lambda m, x: m.project(m.norm(m.depthwise(x)))))
    model.norm.train()
    assert found(model)[0]["depthwise"].startswith("BatchNorm2d in training mode follows it")


def test_says_that_half_precision_has_no_block():
    of, _ = found(settled(Between(lambda m, x: m.project(m.depthwise(x)))).bfloat16(), X.bfloat16())
    assert of["depthwise"] == "weight must be float32, got dtype=torch.bfloat16"


@pytest.mark.parametrize(
    "between",
    [
        lambda m, x: m.project(m.drop(torch.relu(m.norm(m.depthwise(x))))),
        lambda m, x: m.project(nn.functional.hardswish(m.depthwise(x))) + x[:, :8],
    ],
)
def test_finds_blocks_of_functions(between):
    assert found(settled(Between(between)))[0] == {"depthwise": ("depthwise", "project")}
