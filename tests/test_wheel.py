"""What ``pip wheel`` and a source distribution hold, and where a build stops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from greenkernels import __version__, _toolchain

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="needs a checkout")


def has_compiler() -> bool:
    try:
        _toolchain.find_compiler()
    except _toolchain.BuildError:
        return False
    return True


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not has_compiler():
        pytest.skip("no compiler")
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(out),
        str(ROOT),
    ]
    subprocess.run(command, check=True)
    return next(out.iterdir())


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def tool(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_one_wheel_for_every_python(wheel: Path) -> None:
    assert wheel.name.startswith(f"greenkernels-{__version__}-cp310-abi3-linux_")


def test_wheel_has_the_binary_the_sources_and_nothing_else(unpacked: Path) -> None:
    package = unpacked / "greenkernels"
    assert (package / "_C.abi3.so").exists()
    assert (package / "py.typed").exists()
    names = {path.relative_to(package / "_csrc") for path in (package / "_csrc").rglob("*")}
    assert names == {path.relative_to(ROOT / "csrc") for path in (ROOT / "csrc").rglob("*")}
    assert {path.name.split("-")[0] for path in unpacked.iterdir()} == {"greenkernels"}


def test_binary_uses_only_the_stable_abi(unpacked: Path) -> None:
    binary = str(unpacked / "greenkernels" / "_C.abi3.so")
    needed = [
        line.split("[")[1].rstrip("]")
        for line in tool("readelf", "-d", binary).splitlines()
        if "NEEDED" in line
    ]
    torch_libraries = {name for name in needed if "torch" in name or "c10" in name or "python" in name}
    assert torch_libraries == {"libtorch_cpu.so", "libc10.so"}
    undefined = tool("nm", "-D", "--undefined-only", binary)
    assert "aoti_torch_" in undefined
    for unstable in ("_ZN2at", "_ZN3c10", "_ZNK3c10", "_ZN5torch", "_ZN6caffe2", "pybind11"):
        assert unstable not in undefined


def test_binary_exports_no_kernel(unpacked: Path) -> None:
    defined = tool("nm", "-D", "--defined-only", str(unpacked / "greenkernels" / "_C.abi3.so")).split("\n")
    assert not [line for line in defined if " T " in line and "PyInit__C" not in line]


def test_unpacked_wheel_runs(unpacked: Path) -> None:
    code = "import greenkernels as gk; from greenkernels import _C; print(gk.info()['kind'], gk.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = (
        [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else [sys.executable, "-c", code]
    )
    answer = subprocess.run(
        command, env=environment, cwd=unpacked, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["ahead-of-time", str(unpacked / "greenkernels" / "__init__.py")]


def test_source_distribution_can_build(tmp_path: Path) -> None:
    code = f"import setuptools.build_meta as backend; print(backend.build_sdist({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"setup.py", "pyproject.toml", "CMakeLists.txt", "greenkernels/_toolchain.py"}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*") if path.is_file()}
    assert wanted <= names
    assert not [name for name in names if name.endswith(".so")]


def test_a_build_without_torch_stops_with_the_command_to_use(tmp_path: Path) -> None:
    # What pip does first in an isolated build: setup.py runs where there is no torch, before any torch is
    # fetched.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    import setuptools

    for name in ("setuptools", "_distutils_hack", "pkg_resources"):
        source = Path(setuptools.__file__).parent.parent / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / "site" / name)
    code = "import setuptools.build_meta as backend; backend.get_requires_for_build_wheel()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONNOUSERSITE": "1"}
    answer = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "python"), "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode != 0
    assert "torch is not installed in this environment" in answer.stderr
    tools = "torch==2.13.0 'setuptools>=77' ninja"
    assert f"pip install {tools} && pip install --no-build-isolation {ROOT}" in answer.stderr
