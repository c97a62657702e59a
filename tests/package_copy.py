"""A copy of the package without binary, to try the builder on. Use the fixtures copied, as copy, and has_compiler.

The copy has the sources of the instruction set ops alone: they compile in seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from greenkernels import _build, _toolchain

SOURCES = ("api", "cpu/isa.h", "cpu/isa.cpp", "ops/isa.cpp", "ops/library.cpp")

# Two ops in all, against the stock op; prints what the test looks at.
USE = """
import json, warnings
import torch
from torch.nn.functional import conv2d
import greenkernels as gk
x, w = torch.randn(1, 3, 6, 6), torch.randn(2, 3, 3, 3)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for tile in (2, 4):
        right = torch.allclose(gk.ops.winograd_conv2d(x, w, tile=tile), conv2d(x, w), atol=1e-4)
ours = [str(w.message) for w in caught if issubclass(w.category, gk.PlainTorchWarning)]
status = gk._build.status()
levels = torch.ops.greenkernels.isa_levels() if status.compiled else ""
print(json.dumps([status.kind, status.reason, status.mend, ours, bool(right), levels]))
"""


@dataclass(frozen=True)
class Use:
    """What a process that used two ops came to."""

    kind: str
    reason: str
    mend: str
    warnings: list[str]
    right: bool
    levels: str
    stderr: str

    @classmethod
    def of(cls, stdout: str, stderr: str) -> Use:
        return cls(*json.loads(stdout.splitlines()[-1]), stderr)


@dataclass(frozen=True)
class Copy:
    """A package without a binary, and a cache of its own."""

    root: Path

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GREENKERNELS_") and k != "CXX"}
        own = {"PYTHONPATH": str(self.root), "GREENKERNELS_CACHE": str(self.cache)}
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**inherited, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def use(self, **environment: str) -> Use:
        return Use.of(*self.start("-c", USE, **environment).communicate())

    def doctor(self, *options: str, **environment: str) -> tuple[int, dict[str, Any]]:
        process = self.start("-m", "greenkernels", "doctor", "--json", *options, **environment)
        stdout, _ = process.communicate()
        return process.returncode, json.loads(stdout)

    def compiler(self, script: str) -> str:
        """A compiler that answers --version, counts its calls, and else does what ``script`` says."""
        path = self.root / "compiler"
        version = f'[ "$1" = --version ] && echo "a compiler for tests" && exit\necho >> {self.root}/calls\n'
        path.write_text(f"#!/bin/sh\n{version}{script}\n")
        path.chmod(0o755)
        return str(path)

    def calls(self) -> int:
        calls = self.root / "calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    def binaries(self) -> list[Path]:
        return list(self.cache.rglob("*.so"))

    def leftovers(self) -> list[Path]:
        return list(self.cache.rglob("work-*"))


@pytest.fixture(name="copy")
def copied(tmp_path: Path) -> Copy:
    package = Path(_build.__file__).parent
    shutil.copytree(
        package, tmp_path / "greenkernels", ignore=shutil.ignore_patterns("*.so", "_csrc", "__pycache__")
    )
    for name in SOURCES:
        source, target = _toolchain.csrc() / name, tmp_path / "csrc" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return Copy(tmp_path)


@pytest.fixture
def has_compiler() -> None:
    try:
        _toolchain.find_compiler()
        _toolchain.find_ninja()
    except _toolchain.BuildError as error:
        pytest.skip(str(error))
