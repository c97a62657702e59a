"""The build on first use: compiles a library into a cache, once for all processes of this user.

The cache is a folder per library and key; the key hashes everything that the result depends on. A binary
appears in it by one rename, so a reader finds a whole file or none, whatever was interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from . import _nvcc, _toolchain
from ._toolchain import BuildError, Library

try:
    import fcntl
except ImportError:  # Windows: importing the package works all the same, building on first use does not
    fcntl = None


def cache_dir() -> Path:
    """$GREENKERNELS_CACHE, or greenkernels in the user's cache folder, for what can be made again."""
    chosen = os.environ.get("GREENKERNELS_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "greenkernels"


def check() -> None:
    """Raises BuildError if building on first use is switched off or a tool is missing; compiles nothing."""
    if os.environ.get("GREENKERNELS_JIT") == "0":
        raise BuildError(
            "building on first use is switched off (GREENKERNELS_JIT=0)", "unset GREENKERNELS_JIT"
        )
    if fcntl is None:
        raise BuildError(f"building on first use does not work on {sys.platform}", "use Linux")
    _toolchain.find_compiler()
    _toolchain.find_ninja()


def foresee(library: Library) -> None:
    """Raises what ``build`` would raise before it compiles: a missing tool, a remembered failure."""
    check()
    if not cached(library):
        _raise_remembered_failure(entry(library), retry=False)


def entry(library: Library) -> Path:
    """The cache folder of ``library`` as it is now."""
    return cache_dir() / "build" / f"{library.name}-{_key(library)}"


def cached(library: Library) -> Path | None:
    """The binary, if it was built before."""
    path = entry(library) / library.file_name
    return path if _trusted(path) else None


def build(library: Library, *, retry: bool = False) -> Path:
    """The binary of ``library``: from the cache, or compiled now.

    Of several processes that ask at once, one compiles and the others wait for it.

    Args:
        library: what to build.
        retry: compile even if the same sources failed before with the same compiler.

    Returns:
        Path of the shared library.

    Raises:
        BuildError: it cannot be built; a failed compilation is remembered, and its log kept beside the
        binaries.
    """
    check()
    folder = entry(library)
    binary = folder / library.file_name
    if _trusted(binary):
        return binary
    try:
        _make_private(binary)
        with _lock(folder / "lock"):
            if _trusted(binary):  # another process was faster
                return binary
            _forget_leftovers(folder)
            _raise_remembered_failure(folder, retry)
            with tempfile.TemporaryDirectory(prefix="work-", dir=folder) as work:
                built = _compile(library, folder, Path(work))
                _sum_of(binary).write_text(_hash(built))  # before it: a binary without its sum is built again
                for path in (_sum_of(binary), built):
                    path.chmod(0o700)
                os.replace(built, binary)
            return binary
    except OSError as error:
        raise BuildError(
            f"cannot write to the cache: {error}", "export GREENKERNELS_CACHE=$(mktemp -d)"
        ) from error


def _make_private(binary: Path) -> None:
    """Creates the folder of an entry and that of all entries, so that nobody but this user writes to them.

    What lies in a folder that others could write to is not trusted: its sum goes.

    Raises:
        BuildError: one belongs to somebody else, who could put another binary there.
    """
    for part in (binary.parent.parent, binary.parent):
        part.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _ours(part):
            raise BuildError(
                f"{part} belongs to another user, who could change what is loaded from it",
                "export GREENKERNELS_CACHE=$(mktemp -d)",
            )
        if part.stat().st_mode & 0o022:
            _sum_of(binary).unlink(missing_ok=True)
            part.chmod(0o700)


def _ours(path: Path) -> bool:
    """Whether it, and what it links to if it is a link, is this user's, or of the one who may do everything anyway."""
    return all(about.st_uid in (0, os.geteuid()) for about in (path.lstat(), path.stat()))


def _trusted(binary: Path) -> bool:
    """Whether a binary is there, whole, and nobody else can have changed it."""
    try:
        for path in (binary.parent.parent, binary.parent, binary, _sum_of(binary)):
            if not _ours(path) or path.stat().st_mode & 0o022:
                return False
        return _sum_of(binary).read_bytes() == _hash(binary).encode()
    except OSError:
        return False


def _sum_of(binary: Path) -> Path:
    return binary.with_name(binary.name + ".sha256")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _key(library: Library) -> str:
    digest = hashlib.sha256()
    compiler = _toolchain.find_compiler()
    torch = _toolchain.torch_version(_toolchain.find_torch()) if "ops" in library.folders else ""
    nvcc = (repr(library.nvcc), *_nvcc.FLAGS) if library.nvcc else ()
    for text in (
        str(compiler),
        torch,
        *_toolchain.CXX_FLAGS,
        *library.compile_flags,
        *library.link_flags,
        *nvcc,
    ):
        digest.update(text.encode() + b"\0")
    for path in library.inputs():
        digest.update(str(path.relative_to(_toolchain.csrc())).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on ``path``. The system drops it with the process, so none outlives a crash."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("greenkernels: another process is compiling the kernels; waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_leftovers(folder: Path) -> None:
    """Removes what a killed process left behind. Needs the lock, which proves that nobody works there."""
    for work in folder.glob("work-*"):
        shutil.rmtree(work, ignore_errors=True)


def _raise_remembered_failure(folder: Path, retry: bool) -> None:
    failure = folder / "failed"
    if not failure.exists():
        return
    if retry:
        failure.unlink()
        return
    raise _compile_error(failure.read_text(errors="replace"), folder)


def _compile_error(cause: str, folder: Path) -> BuildError:
    return BuildError(
        f"compiling failed: {cause} (full log: {folder / 'build.log'})", "greenkernels doctor --build"
    )


def _compile(library: Library, folder: Path, work: Path) -> Path:
    """Compiles in ``work`` with a progress line; leaves log and cause in ``folder`` if it fails.

    A full disk leaves no cause: there may be room the next time.
    """
    start_s = time.monotonic()
    progress = _ProgressLine(sys.stderr, f"greenkernels: compiling {library.name} for first use")
    progress.show(0, len(library.sources()) + len(library.cuda_sources()) + 1)
    try:
        result = _toolchain.build(library, work, progress.show)
    except BuildError as error:
        progress.close("failed")
        (folder / "build.log").write_text(error.log)
        if os.strerror(errno.ENOSPC) not in error.log:
            (folder / "failed").write_text(error.cause)
        raise _compile_error(error.cause, folder) from error
    except BaseException:
        progress.close("interrupted")
        raise
    progress.close(f"done in {time.monotonic() - start_s:.0f} s, kept in {folder}")
    return result


class _ProgressLine:
    """One line that counts up in place on a terminal, and says only beginning and end elsewhere."""

    def __init__(self, stream: TextIO, title: str) -> None:
        self._stream = stream
        self._title = title
        self._live = stream.isatty()

    def show(self, done: int, total: int) -> None:
        if self._live:
            print(f"\r{self._title} [{done}/{total}]", end="", file=self._stream, flush=True)
        elif done == 0:
            print(f"{self._title} ({total} steps)", file=self._stream, flush=True)

    def close(self, outcome: str) -> None:
        print(("\r" if self._live else "") + f"{self._title}: {outcome}", file=self._stream, flush=True)
