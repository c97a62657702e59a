"""The build.ninja of a library: what is compiled by which compiler, and how the objects are linked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._toolchain import Library


def text(library: Library, compiler: tuple[str, ...], flags: Sequence[str], csrc: Path) -> str:
    """The file, for a build in the folder that it is put into.

    Args:
        library: what to build.
        compiler: command of the C++ compiler, such as ("ccache", "g++").
        flags: of C++, beside the library's own.
        csrc: folder of the sources.
    """
    lines = ["ninja_required_version = 1.5", *_rules(library, compiler, (*flags, f"-I{csrc}"))]
    objects = []
    for rule, sources in (("compile", library.sources()), ("compile_cuda", library.cuda_sources())):
        for source in sources:
            # The object keeps the folder and the full file name, so that equal stems never meet.
            objects.append(_path(f"{source.relative_to(csrc)}.o"))
            lines.append(f"build {objects[-1]}: {rule} {_path(source)}")
    lines.append(f"build {_path(library.file_name)}: link {' '.join(objects)}")
    return "\n".join(lines) + "\n"


def _rules(library: Library, compiler: tuple[str, ...], flags: Sequence[str]) -> Iterator[str]:
    cxx = _words(compiler)
    yield from _compile_rule("compile", f"{cxx} {_words([*flags, *library.compile_flags])}")
    if library.nvcc:
        include = [flag for flag in flags if flag.startswith("-I")]
        yield from _compile_rule("compile_cuda", _words([*library.nvcc.command(compiler), *include]))
    yield from (
        "rule link",
        f"  command = {cxx} -shared $in -o $out {_words(library.link_flags)}",
        "  description = $out",
    )


def _compile_rule(name: str, command: str) -> Iterator[str]:
    yield from (
        f"rule {name}",
        f"  command = {command} -MD -MF $out.d -c $in -o $out",
        "  depfile = $out.d",
        "  deps = gcc",
        "  description = $in",
    )


def _words(words: Sequence[str]) -> str:
    return shlex.join(words).replace("$", "$$")


def _path(path: Path | str) -> str:
    return re.sub(r"([$ :])", r"$\1", str(path))
