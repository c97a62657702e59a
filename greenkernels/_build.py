"""Finds the compiled kernels: ahead of time, built on first use, or not at all; always knows which and why.

``load_ahead_of_time()`` runs once at import. The plain-torch implementation of each op calls
``ensure_loaded()``, which is reached only while no kernel is registered for the op: so the fast path pays
nothing.
"""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from . import _jit, _toolchain
from ._toolchain import BuildError

AHEAD_OF_TIME = Path(__file__).resolve().parent / "_C.abi3.so"
BUILD_COMMAND = "greenkernels doctor --build"

Kind = Literal["ahead-of-time", "built-on-first-use", "not-built-yet", "plain-torch"]


class PlainTorchWarning(RuntimeWarning):
    """Given once when an op computes with plain torch because no compiled kernel is there."""


@dataclass(frozen=True)
class BuildStatus:
    """Which implementation of the ops is in use.

    Attributes:
        kind: "ahead-of-time" (the binary that was installed), "built-on-first-use" (one from the cache),
            "not-built-yet" (the first op call builds one), or "plain-torch" (none, and no way to get one).
        reason: why it is that one; "" for "ahead-of-time".
        mend: the command that gets compiled kernels, or "" where none is needed or known.
        path: the binary that is loaded, or None.
    """

    kind: Kind
    reason: str = ""
    mend: str = ""
    path: Path | None = None

    @property
    def compiled(self) -> bool:
        """Whether compiled kernels are loaded."""
        return self.path is not None


_status = BuildStatus("not-built-yet", "the package is being imported")
_lock = threading.Lock()
_warned = False


def status() -> BuildStatus:
    """The state now. Builds nothing; while nothing is loaded, it looks whether a build could go well."""
    if _status.kind != "not-built-yet":
        return _status
    try:
        _jit.foresee(_toolchain.torch_extension())
    except BuildError as error:
        return _plain(error, _status.reason)
    return _status


def load_ahead_of_time() -> None:
    """Loads greenkernels._C if the package was installed with it."""
    global _status
    if os.environ.get("GREENKERNELS_DISABLE") == "1":
        _status = BuildStatus(
            "plain-torch", "switched off (GREENKERNELS_DISABLE=1)", "unset GREENKERNELS_DISABLE"
        )
    elif not AHEAD_OF_TIME.exists():
        _status = BuildStatus("not-built-yet", "the package was installed without a binary", BUILD_COMMAND)
    else:
        try:
            torch.ops.load_library(str(AHEAD_OF_TIME))
            _status = BuildStatus("ahead-of-time", path=AHEAD_OF_TIME)
        except OSError as error:  # another torch, another processor, a damaged file: the loader says which
            _status = BuildStatus(
                "not-built-yet", f"the installed binary does not load: {error}", BUILD_COMMAND
            )


def ensure_loaded(*, retry: bool = False) -> bool:
    """Loads compiled kernels if there is a way to, which may take a compilation; warns once if there is none.

    Args:
        retry: compile even if that failed before.

    Returns:
        Whether compiled kernels are registered now.
    """
    global _status
    with _lock:
        if _status.kind == "not-built-yet" or (retry and not _status.compiled):
            _status = _build_and_load(retry)
        if not _status.compiled:
            _warn_once(_status)
        return _status.compiled


def _build_and_load(retry: bool) -> BuildStatus:
    try:
        path = _jit.build(_toolchain.torch_extension(), retry=retry)
        torch.ops.load_library(str(path))
    except BuildError as error:
        return _plain(error, _status.reason)
    except OSError as error:
        return BuildStatus(
            "plain-torch", f"the binary built for first use does not load: {error}", f"rm {path}"
        )
    return BuildStatus("built-on-first-use", _status.reason, path=path)


def _plain(error: BuildError, before: str) -> BuildStatus:
    return BuildStatus("plain-torch", f"{before}, and {error.cause}" if before else error.cause, error.mend)


def _warn_once(now: BuildStatus) -> None:
    global _warned
    if _warned or os.environ.get("GREENKERNELS_DISABLE") == "1":  # who asks for stock ops needs no warning
        return
    _warned = True
    hint = f" To get the fast kernels: {now.mend}" if now.mend else ""
    warnings.warn(
        f"greenkernels computes with plain torch: {now.reason}.{hint} (see docs/troubleshooting.md)",
        PlainTorchWarning,
        stacklevel=2,
    )
