"""Faults put in from below by tests/faults.cpp: no memory for one allocation, and the end in the middle of a write."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conv_cases import needs_kernels

from greenkernels import ops

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tools" / "fuzz"))
import cases  # noqa: E402

OTHERS = ("large map", "gradient of the input", "gradient of the weight", "gradient of nonzeros")
pytestmark = [
    pytest.mark.skipif(
        platform.libc_ver()[0] != "glibc", reason="stands in for functions of the GNU C library"
    ),
    pytest.mark.skipif(
        "san" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer has these functions already"
    ),
    needs_kernels,
]
MANY = {"strassen_gemm", "int8_winograd_conv2d"}  # allocations: with --long
STEMS = sorted({name.removesuffix("_packed") for name in ops.__all__ if name.endswith("_packed")} - MANY)


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The library to preload."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    options = ("-std=c++20", "-shared", "-fPIC", "-O1", "-o", library, HERE / "faults.cpp", "-ldl")
    subprocess.run([compiler, *options], check=True)
    return library


def run(faults, *arguments) -> int:
    """How many faults a program of faults_child.py went through; it prints those that it did not survive."""
    environment = os.environ | {"LD_PRELOAD": str(faults), "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, HERE / "faults_child.py", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    *wrong, count = done.stdout.splitlines() or [""]
    assert (done.returncode, wrong) == (0, []), done.stderr
    return int(count)


def test_every_allocation_of_a_kernel_may_fail(faults):
    """Each raises an error; after it the same call is right."""
    assert run(faults, "allocations", 1, *OTHERS, *STEMS) > 200


@pytest.mark.long
def test_every_allocation_of_a_module_of_any_dtype_and_call_may_fail(faults):
    names = [f"{op}/{dtype}" for op, (_, dtypes) in cases.MAKERS.items() for dtype in dtypes]
    assert run(faults, "allocations", 9, *names) > 1000


def test_a_writer_may_be_killed_at_each_step(faults, tmp_path):
    """Plans, weights, caches, tables, rows, reports: the file is the old or the new one, and can be written again."""
    assert run(faults, "kills", tmp_path) >= 21  # 7 files: in writing, before their name is there, and after


def test_the_faults_are_there(faults):
    """Without them the tests above would pass as well."""
    program = """
import ctypes, os, sys
faults = ctypes.CDLL(None)
faults.fault_die_at(ctypes.c_long(1))
open(sys.argv[1], "w").write("some words")
"""
    path = faults.with_name("half")
    done = subprocess.run(
        [sys.executable, "-c", program, path], env=os.environ | {"LD_PRELOAD": str(faults)}, check=False
    )
    assert (done.returncode, path.read_text()) == (-9, "some ")
