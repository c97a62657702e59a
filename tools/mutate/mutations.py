"""Where the kernels can be changed by one token, and the order in which a seed draws these places."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OPPOSITES = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
OTHER_TERMS = {"+": "-", "-": "+", "*": "+"}
# What is no code: comments, strings, letters in quotes, lines of the preprocessor, what only the compiler reads.
NO_CODE = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'(?!\d)"
    r"|^[ \t]*#(?:\\\n|[^\n])*|\bstatic_assert\b[^;]*;",
    re.DOTALL | re.MULTILINE,
)
# What changes the speed alone: hints to the cache, and constants that by their name say how far ahead to fetch,
# when a thread is worth waking, and how much memory may be kept.
NO_RESULT = re.compile(
    r"\b\w*prefetch\w*\([^;]*;"
    r"|\bk\w*(?:Ahead|Far|Near|Grain|PerTask|PerThread|AThread|TaskFlops|TaskElements|StagedBytes|CacheBytes"
    r"|FetchDepth|FetchChunks) =[^,;]*[,;]"
)
# clang-format puts spaces around binary operators, and none around the brackets of a template or the * of a pointer.
PLACES = {
    "constant": re.compile(r"(?<![\w.'])\d+(?:\.\d+)?(?=f?\b)(?!['.])"),
    "comparison": re.compile(r"(?<= )(?:[<>]=?|[=!]=)(?= )"),
    "term": re.compile(r"(?<= )[-+*](?= )"),
}


class Mutation(NamedTuple):
    """One token of a file changed."""

    kind: str
    file: str  # below the root
    line: int
    at: int  # first character, in the file
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The text of the file with the change."""
        end = self.at + len(self.old)
        if text[self.at : end] != self.old:
            raise ValueError(f"{self.file} is not the file that {self} was drawn from")
        return text[: self.at] + self.new + text[end:]


def drawn(root: Path, below: str, seed: int) -> Iterator[Mutation]:
    """Every mutation of the sources in `below`, none twice: a file, the long ones oftener, then a place in it."""
    stream = random.Random(seed)
    places, lines = {}, {}
    for path in sorted((root / below).rglob("*")):
        if path.suffix not in (".cpp", ".h", ".inl"):
            continue
        text, file = path.read_text(), str(path.relative_to(root))
        if found := of_text(text, file, stream):
            stream.shuffle(found)
            places[file], lines[file] = found, text.count("\n")
    while places:
        [file] = stream.choices(list(places), [lines[name] for name in places])
        yield places[file].pop()
        if not places[file]:
            del places[file]


def of_text(text: str, file: str, stream: random.Random) -> list[Mutation]:
    """The mutations of a file, in the order of its text within a kind."""
    code = text
    for no_place in (NO_CODE, NO_RESULT):
        code = no_place.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), code)
    return [
        Mutation(
            kind,
            file,
            text.count("\n", 0, place.start()) + 1,
            place.start(),
            place.group(),
            changed(kind, place.group(), stream),
        )
        for kind, pattern in PLACES.items()
        for place in pattern.finditer(code)
    ]


def changed(kind: str, old: str, stream: random.Random) -> str:
    """What stands in the place of a token: the next number or the one before it, the operator beside it."""
    if kind == "comparison":
        return OPPOSITES[old]
    if kind == "term":
        return OTHER_TERMS[old]
    step = stream.choice((1, -1)) if float(old) >= 1 else 1
    return str(int(old) + step) if old.isdigit() else str(float(old) + step / 4)
