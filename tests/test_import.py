"""What ``import greenkernels`` costs and brings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import greenkernels as gk

IMPORT_BUDGET_S = 0.3  # beyond torch's own import

# The collection first: else one that torch's objects made due falls into our import, or not, by chance.
TIMED_IMPORT = """
import gc, time, torch
gc.collect()
start_s = time.perf_counter()
import greenkernels
print(time.perf_counter() - start_s)
"""


def run(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=os.environ | environment, check=True, capture_output=True, text=True
    ).stdout


def test_imports_fast(tmp_path: Path) -> None:
    # From bytecode, as every import but the first, and the fastest of several: the others measure what else this
    # machine was doing.
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    assert min(float(run(TIMED_IMPORT, **bytecode)) for _ in range(4)) < IMPORT_BUDGET_S


def test_leaves_the_heavy_parts_for_later() -> None:
    loaded = run("import sys, greenkernels; print(*sys.modules)").split()
    heavy = ["typer", "rich", "matplotlib", "greenkernels.cli", "greenkernels.doctor", "greenkernels.raw"]
    assert not set(heavy) & set(loaded)


def test_needs_no_numpy() -> None:
    hidden = "import sys, warnings; warnings.simplefilter('ignore'); sys.modules['numpy'] = None; import greenkernels"
    run(f"{hidden}; from greenkernels import saving")


def test_version_follows_pep_440() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", gk.__version__)


def test_every_exported_name_is_there() -> None:
    # In a process of its own: an import of a submodule would make its name an attribute for all later tests.
    code = (
        "import greenkernels as gk; print([n for n in gk.__all__ if not hasattr(gk, n) or n not in dir(gk)])"
    )
    assert run(code).strip() == "[]"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'greenkernels' has no attribute 'kernel_soup'"):
        _ = gk.kernel_soup


def test_info_names_the_build() -> None:
    facts = gk.info()
    assert facts["version"] == gk.__version__
    assert facts["kind"] in ("ahead-of-time", "built-on-first-use", "plain-torch")
    assert (facts["isa"] is None) == (facts["kind"] == "plain-torch")
