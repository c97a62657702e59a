"""The kernels on numpy arrays, for micro-benchmarks and kernel research: ``from greenkernels import raw``.

The functions are those of the pybind11 module ``greenkernels_raw`` (csrc/raw), which is compiled when the
first one is used and kept in the cache. It needs the extra ``greenkernels[raw]`` and a C++ compiler. Its
threads are its own (``raw.set_num_threads``), and it uses no torch; ``make raw`` builds the same module for a
Python without torch.
"""

from __future__ import annotations

import functools
import importlib.util
from types import ModuleType
from typing import Any

from . import _jit, _toolchain
from ._toolchain import BuildError


@functools.cache
def _module() -> ModuleType:
    try:
        library = _toolchain.raw_extension()
        path = _jit.build(library)
    except BuildError as error:
        hint = f". To mend it: {error.mend}" if error.mend else ""
        raise ImportError(f"greenkernels.raw cannot be built: {error.cause}{hint}") from error
    spec = importlib.util.spec_from_file_location(library.name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # what the import system and inspection ask for is no reason to compile
        raise AttributeError(name)
    return getattr(_module(), name)


def __dir__() -> list[str]:
    return dir(_module())
