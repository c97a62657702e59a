"""What few bits cost MiniLM: topics of 1,668 quotations, told apart by the directions that the network gives them.

    python bench/quantized/topics.py [--data FOLDER] [--most 200] [--only TEXT]

The texts are those of the Debian package fortunes, one file a topic. A text is right if, of the mean directions of all
other texts of each topic, that of its own topic is the nearest. One text is 0.06 points; the zoo's judge has 32
sentences of 3.1 points each, too few to see a drop of 0.5 points. What is calibrated looks at quotations of other
files, which no text that is judged comes from.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import greenkernels as gk
from greenkernels.compress.pipeline.topics import (
    BATCH,
    CALIBRATION,
    FOLDER,
    MOST,
    MOST_CALIBRATION,
    TOPICS,
    right,
    texts_of,
)
from greenkernels.nn import CodebookLinear
from greenkernels.zoo.networks.minilm import VOCABULARY, build
from greenkernels.zoo.wheels import fetch
from greenkernels.zoo.wordpiece import WordPiece


def directions_of(network: nn.Module, texts: list[str], pieces: WordPiece) -> Tensor:
    """``[texts, 384]``; texts of like length share a batch."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found: list[Tensor] = [torch.empty(0)] * len(texts)
    with torch.inference_mode():
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            for i, direction in zip(batch, network(*pieces([texts[i] for i in batch])), strict=True):
                found[i] = direction
    return torch.stack(found)


def converted(network: nn.Module, convert: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    """A copy with every linear layer replaced."""
    copied = copy.deepcopy(network)
    for name, module in list(copied.named_modules()):
        if type(module) is nn.Linear:
            parent, _, last = name.rpartition(".")
            setattr(copied.get_submodule(parent), last, convert(module))
    return copied


def variants(network: nn.Module, batches: list[tuple[Tensor, ...]]) -> dict[str, Callable[[], nn.Module]]:
    """Name -> function that makes the network."""
    looked = {"batches": batches, "rounding": "second-order"}
    found: dict[str, Callable[[], nn.Module]] = {"8 bit": partial(gk.compress.quantize, network, 8)}
    for group in (32, 64, 128):
        name = f"4 bit, groups of {group}"
        found[name] = partial(gk.compress.quantize, network, 4, group=group)
        found[f"{name}, second order"] = partial(gk.compress.quantize, network, 4, group=group, **looked)
    found["4 bit, groups of 64, bias corrected"] = partial(
        gk.compress.quantize, network, 4, batches=batches, correct_bias=True
    )
    for bits in (4, 2):
        found[f"codebook of {bits} bits, groups of 64"] = partial(
            converted, network, partial(CodebookLinear.from_module, bits=bits)
        )
    return found


def linear_bytes(network: nn.Module) -> int:
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    return sum(m.packed.nbytes if hasattr(m, "packed") else m.weight.nbytes for m in layers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--most", type=int, default=MOST, help="texts of a topic")
    parser.add_argument("--only", default="", help="variants whose name has this in it")
    arguments = parser.parse_args()
    texts, topics = texts_of(arguments.data, TOPICS, arguments.most)
    network, pieces = build(), WordPiece(fetch(VOCABULARY))
    others, _ = texts_of(arguments.data, CALIBRATION, MOST_CALIBRATION)
    batches = [tuple(pieces(others[i : i + BATCH])) for i in range(0, len(others), BATCH)]
    stock = directions_of(network, texts, pieces)
    was = right(stock, topics)
    print(f"{len(texts)} texts of {len(TOPICS)} topics")
    print("| linear layers | right, % | changed | difference of outputs | bytes of linear weights |")
    print("|---|---:|---:|---:|---:|")
    print(f"| float32 | {100 * was.double().mean():.2f} | | | {linear_bytes(network):,} |")
    for name, make in variants(network, batches).items():
        if arguments.only not in name:
            continue
        quantized = make()
        found = directions_of(quantized, texts, pieces)
        now, error = right(found, topics), float((found - stock).norm() / stock.norm())
        row = f"{100 * now.double().mean():.2f} | {int((now != was).sum())} | {error:.3f}"
        print(f"| {name} | {row} | {linear_bytes(quantized):,} |", flush=True)


if __name__ == "__main__":
    main()
