"""greenkernels: drop-in PyTorch kernels that need less arithmetic, so that a network runs faster where it is.

``gk.ops`` holds the kernels as functions, ``gk.nn`` the modules that stand in for those of ``torch.nn``, and
``gk.optimize`` replaces the layers of a whole network where that wins. ``gk.info()`` tells which build is in
use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import _build, nn, ops
from ._build import BuildStatus, PlainTorchWarning
from ._version import __version__

# Imported when first asked for: they cost more time than the kernels do.
_LAZY_MODULES = frozenset({"measure", "planning", "raw", "report", "zoo"})
_LAZY_NAMES = {"info": "doctor", "optimize": "planning"}  # name -> the module that has it

__all__ = [
    "BuildStatus",
    "PlainTorchWarning",
    "__version__",
    "nn",
    "ops",
    *sorted(_LAZY_MODULES),
    *sorted(_LAZY_NAMES),
]

_build.load_ahead_of_time()  # after ops, which defines what the binary implements


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _LAZY_NAMES:
        return getattr(import_module(f"{__name__}.{_LAZY_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
