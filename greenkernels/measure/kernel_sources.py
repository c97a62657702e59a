"""Hashes of the kernels' sources: rows that were taken with other kernels than those of a checkout are stale."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SOURCES = frozenset({".h", ".cpp", ".inl", ".cu", ".cuh"})
NAMED = re.compile(
    rb'"((?:api|cpu|ops)/[\w/]+\.(?:h|inl))"'
)  # an #include, or the file that a macro includes


def csrc_hash(root: Path) -> str:
    """One hash over names and contents of all files in csrc/: networks run many kernels."""
    return _digest(root, (path for path in (root / "csrc").rglob("*") if path.suffix in SOURCES))


def stem_hashes(root: Path) -> dict[str, str]:
    """For each stem that has a torch operator, a hash over what its CPU kernels are made of.

    That is its own files, every file of csrc/ which those name, and so on; a header brings the file that defines it,
    and one of another stem brings that whole stem.
    """
    csrc = root / "csrc"
    stems = sorted(
        path.stem for path in (csrc / "ops").glob("*.cpp") if (csrc / "api" / f"{path.stem}.h").exists()
    )
    named = {path: _named(path, csrc) for path in csrc.rglob("*") if path.suffix in SOURCES}
    return {stem: _digest(root, _closure(_of_stem(csrc, stem, stems), named, csrc, stems)) for stem in stems}


def kernel_facts(root: Path) -> dict[str, object]:
    """What a row remembers of the kernels: the hash of csrc/, and one a stem."""
    return {"csrc_hash": csrc_hash(root), "stem_hashes": stem_hashes(root)}


def hash_of_suite(facts: Mapping[str, object], suite: str) -> str | None:
    """The hash that decides whether rows of a suite are stale.

    Args:
        facts: of `kernel_facts`; rows from before there were hashes for stems have the one of csrc/ alone.
        suite: a stem, or a stem with the part of it that is measured (``winograd_conv2d_half``); anything else is a
            network, which may run any kernel.
    """
    hashes = facts.get("stem_hashes") or {}
    stem = _stem_of(suite, hashes)
    return hashes[stem] if stem else facts["csrc_hash"]


def _stem_of(name: str, stems: Iterable[str]) -> str | None:
    """The longest stem that a name is or begins with."""
    return max((stem for stem in stems if f"{name}_".startswith(f"{stem}_")), key=len, default=None)


def _closure(
    start: Iterable[Path], named: Mapping[Path, list[Path]], csrc: Path, stems: Iterable[str]
) -> set[Path]:
    found, waiting = set(), list(start)
    while waiting:
        path = waiting.pop()
        if path in found or path not in named:
            continue
        found.add(path)
        waiting += [*named[path], path.with_suffix(".cpp")]
        for stem in stems:
            if stem in path.parts or (path.stem == stem and path.parent.name == "api"):
                waiting += _of_stem(csrc, stem, stems)
    return found


def _of_stem(csrc: Path, stem: str, stems: Iterable[str]) -> list[Path]:
    operators = (path for path in (csrc / "ops").glob("*.cpp") if _stem_of(path.stem, stems) == stem)
    return [*(csrc / "cpu" / stem).rglob("*"), *(csrc / "cpu").glob(f"{stem}.*"), *operators]


def _named(path: Path, csrc: Path) -> list[Path]:
    return [csrc / name.decode() for name in NAMED.findall(path.read_bytes())]


def _digest(root: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
