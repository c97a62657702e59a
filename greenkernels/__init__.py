"""greenkernels: drop-in PyTorch kernels that need less arithmetic, so that a network runs faster where it is.

``gk.ops`` holds the kernels as functions, ``gk.nn`` the modules that stand in for those of ``torch.nn``, and
``gk.optimize`` replaces the layers of a whole network where that wins. ``gk.info()`` tells which build is in use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _build, nn, ops
from ._build import BuildStatus, PlainTorchWarning
from ._version import __version__

if TYPE_CHECKING:
    from . import compress, energy, measure, planning, raw, report, zoo
    from .doctor import info
    from .planning import Plan, explain, optimize, plan, restore
    from .saving import load, save

# Imported when first asked for: they cost more time than the kernels do. Name -> the module that is it or has it.
_LAZY = {
    "Plan": "planning",
    "compress": "compress",
    "energy": "energy",
    "explain": "planning",
    "info": "doctor",
    "load": "saving",
    "measure": "measure",
    "optimize": "planning",
    "plan": "planning",
    "planning": "planning",
    "raw": "raw",
    "report": "report",
    "restore": "planning",
    "save": "saving",
    "zoo": "zoo",
}

__all__ = [
    "BuildStatus",
    "PlainTorchWarning",
    "Plan",
    "__version__",
    "compress",
    "energy",
    "explain",
    "info",
    "load",
    "measure",
    "nn",
    "ops",
    "optimize",
    "plan",
    "planning",
    "raw",
    "report",
    "restore",
    "save",
    "zoo",
]

_build.load_ahead_of_time()  # after ops, which defines what the binary implements


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LAZY[name]}")
    return module if name == _LAZY[name] else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
