"""The networks of networks.json: names in torchvision and timm by input size, and configurations of transformers.

Weights are random and nothing is downloaded. The quick ones run in CI: one of each kind of block, on small inputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

Made = tuple[nn.Module, Any]  # a network and its inputs: positional as a tuple, keywords as a dict


@dataclass(frozen=True)
class Network:
    """One architecture.

    Attributes:
        name: with the library before it.
        make: builds it with random weights, and its inputs.
        quick: whether CI runs it.
    """

    name: str
    make: Callable[[], Made]
    quick: bool = False


def torchvision_made(name: str, size: int) -> Made:
    from torchvision import models

    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    if name.startswith(("fcn", "deeplab", "lraspp")):
        options = {"weights_backbone": None}
    return models.get_model(name, weights=None, **options), (torch.randn(1, 3, size, size),)


def timm_made(name: str, size: int) -> Made:
    import timm

    return timm.create_model(name, pretrained=False), (torch.randn(1, 3, size, size),)


def transformers_made(kind: str, config: dict[str, Any]) -> Made:
    import transformers

    made = getattr(transformers, f"{kind}Config")(**config)
    suffix = "LMHeadModel" if kind == "GPT2" else "Model"
    model = getattr(transformers, kind + suffix)(made)
    if kind in ("ViT", "ConvNext", "ResNet", "Swin"):
        return model, {
            "pixel_values": torch.randn(1, 3, made.image_size if hasattr(made, "image_size") else 64, 64)
        }
    words = {
        "input_ids": torch.randint(0, 100, (2, 12)),
        "attention_mask": torch.ones(2, 12, dtype=torch.long),
    }
    if kind in ("T5", "Bart"):
        words["decoder_input_ids"] = words["input_ids"]
    return model, words


def _networks() -> list[Network]:
    names = json.loads((Path(__file__).resolve().parent / "networks.json").read_text())
    found = []
    for quick, part in ((True, "quick"), (False, "long")):
        for library, make in (("torchvision", torchvision_made), ("timm", timm_made)):
            for size, of_size in names[library][part].items():
                found += [Network(f"{library}/{n}", partial(make, n, int(size)), quick) for n in of_size]
        for kind, config in names["transformers"][part].items():
            found.append(Network(f"transformers/{kind}", partial(transformers_made, kind, config), quick))
    return found


NETWORKS = _networks()
