"""What few bits cost MiniLM: topics of 1,668 quotations, told apart by the directions that the network gives them.

    python bench/quantized/topics.py [--data FOLDER] [--most 200] [--bits 8,4]

The texts are those of the Debian package fortunes, one file a topic. A text is right if, of the mean directions of all
other texts of each topic, that of its own topic is the nearest. One text is 0.06 points; the zoo's judge has 32
sentences of 3.1 points each, too few to see a drop of 0.5 points.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenkernels.nn import Int4Linear, Int8Linear
from greenkernels.zoo.networks.minilm import VOCABULARY, build
from greenkernels.zoo.wheels import fetch
from greenkernels.zoo.wordpiece import WordPiece

FOLDER = Path("/usr/share/games/fortunes")  # of the Debian package fortunes
HOW = (
    "get the Debian package fortunes: apt-get install fortunes, or without root apt-get download fortunes && dpkg -x "
    "fortunes_*.deb DIR, then --data DIR/usr/share/games/fortunes"
)
TOPICS = (
    *("food", "law", "medicine", "computers", "sports", "love"),
    *("kids", "art", "education", "pets", "politics", "science"),
)
LENGTHS = (40, 250)  # characters of the texts that are taken
BATCH = 32


def texts_of(folder: Path, most: int) -> tuple[list[str], Tensor]:
    """Texts, at most ``most`` of a topic, drawn with a fixed seed, and the number of the topic of each.

    Raises:
        FileNotFoundError: the folder does not hold them; the message says where to get them.
    """
    texts: list[str] = []
    topics: list[int] = []
    for number, topic in enumerate(TOPICS):
        path = folder / topic
        if not path.is_file():
            raise FileNotFoundError(f"{folder} does not hold the quotations: {HOW}")
        whole = (" ".join(t.split()) for t in path.read_text("utf-8", errors="replace").split("\n%\n"))
        fitting = [text for text in whole if LENGTHS[0] <= len(text) <= LENGTHS[1]]
        order = torch.randperm(len(fitting), generator=torch.Generator().manual_seed(1)).tolist()
        texts += [fitting[i] for i in order[:most]]
        topics += [number] * min(most, len(fitting))
    return texts, torch.tensor(topics)


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


def right(directions: Tensor, topics: Tensor) -> Tensor:
    """Which texts find their topic, each left out of the mean of its own."""
    sums = torch.stack([directions[topics == topic].sum(0) for topic in range(len(TOPICS))])
    near = directions @ F.normalize(sums, dim=1).T
    own = F.normalize(sums[topics] - directions, dim=1)
    near[torch.arange(len(topics)), topics] = (directions * own).sum(1)
    return near.argmax(1) == topics


def converted(network: nn.Module, convert: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    """A copy with every linear layer replaced."""
    copied = copy.deepcopy(network)
    for name, module in list(copied.named_modules()):
        if type(module) is nn.Linear:
            parent, _, last = name.rpartition(".")
            setattr(copied.get_submodule(parent), last, convert(module))
    return copied


def variants(network: nn.Module, bits: str) -> Iterator[tuple[str, nn.Module]]:
    if "8" in bits.split(","):
        yield "8 bit", converted(network, Int8Linear.from_module)
    if "4" in bits.split(","):
        for group in (64, 32, 128):
            yield (
                f"4 bit, groups of {group}",
                converted(network, lambda layer, group=group: Int4Linear.from_module(layer, group=group)),
            )


def linear_bytes(network: nn.Module) -> int:
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    return sum(m.packed.nbytes if hasattr(m, "packed") else m.weight.nbytes for m in layers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--most", type=int, default=200, help="texts of a topic")
    parser.add_argument("--bits", default="8,4")
    arguments = parser.parse_args()
    texts, topics = texts_of(arguments.data, arguments.most)
    network, pieces = build(), WordPiece(fetch(VOCABULARY))
    stock = directions_of(network, texts, pieces)
    was = right(stock, topics)
    print(f"{len(texts)} texts of {len(TOPICS)} topics")
    print("| linear layers | right, % | changed | difference of outputs | bytes of linear weights |")
    print("|---|---:|---:|---:|---:|")
    print(f"| float32 | {100 * was.double().mean():.2f} | | | {linear_bytes(network):,} |")
    for name, quantized in variants(network, arguments.bits):
        found = directions_of(quantized, texts, pieces)
        now, error = right(found, topics), float((found - stock).norm() / stock.norm())
        row = f"{100 * now.double().mean():.2f} | {int((now != was).sum())} | {error:.3f}"
        print(f"| {name} | {row} | {linear_bytes(quantized):,} |", flush=True)


if __name__ == "__main__":
    main()
