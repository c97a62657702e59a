"""WordPiece: text to the numbers of the pieces that a BERT vocabulary cuts it into."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor


class WordPiece:
    """Lower case, accents taken off, words cut into the longest pieces there are, the first one from the left first.

    Source: Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding", NAACL 2019, section 3.
    """

    def __init__(self, vocabulary: Path) -> None:
        pieces = vocabulary.read_text(encoding="utf-8").splitlines()
        self.numbers = {piece: number for number, piece in enumerate(pieces)}

    def __call__(self, texts: Sequence[str], longest: int = 128) -> tuple[Tensor, Tensor]:
        """Numbers ``[texts, tokens]`` int64, and a mask of the same shape, float32: 1 for a piece, 0 for filling."""
        begin, end = self.numbers["[CLS]"], self.numbers["[SEP]"]
        rows = []
        for text in texts:
            found = [number for word in _words(text) for number in self.pieces(word)]
            rows.append([begin, *found[: longest - 2], end])
        numbers = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
        mask = torch.zeros(numbers.shape)
        for i, row in enumerate(rows):
            numbers[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return numbers, mask

    def pieces(self, word: str) -> list[int]:
        """Numbers of a word's pieces; of "unknown" where some part of it is none."""
        found, begin = [], 0
        while begin < len(word):
            prefix = "##" if begin else ""
            for end in range(len(word), begin, -1):
                number = self.numbers.get(prefix + word[begin:end])
                if number is not None:
                    break
            else:
                return [self.numbers["[UNK]"]]
            found.append(number)
            begin = end
        return found


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFD", text.lower())
    return re.findall(r"\w+|[^\w\s]", "".join(c for c in plain if unicodedata.category(c) != "Mn"))
