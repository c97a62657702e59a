"""What CUDA kernels are built for: nvcc and the environment variables that decide, with a command that plays nvcc."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenkernels import _build_file, _nvcc, _toolchain

SCRIPT = """#!/bin/sh
case "$*" in
  *--version*) echo "Cuda compilation tools, release 13.0, V13.0.88" ;;
  *--list-gpu-code*) printf 'sm_75\\nsm_80\\nsm_90\\nsm_90a\\n' ;;
  *--dryrun*) echo "#$ TOP=TOOLKIT" >&2 ;;
esac
"""


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toolkit whose nvcc knows three architectures."""
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text(SCRIPT.replace("TOOLKIT", str(tmp_path)))
    nvcc.chmod(0o755)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcudart_static.a").touch()
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.delenv("GREENKERNELS_CUDA", raising=False)
    return tmp_path


def test_takes_what_this_nvcc_knows(toolkit: Path) -> None:
    nvcc = _nvcc.wanted()
    assert nvcc is not None
    assert (nvcc.version, nvcc.home, nvcc.architectures) == ("13.0", toolkit, (80, 90))


def test_takes_what_is_asked_for(toolkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENKERNELS_CUDA", "9.0 8.0")
    assert _nvcc.wanted().architectures == (80, 90)
    monkeypatch.setenv("GREENKERNELS_CUDA", "0")
    assert _nvcc.wanted() is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("fast", 'GREENKERNELS_CUDA must be "0" or a list like "8.0 9.0", got fast'),
        ("8.0 12.0", r"nvcc 13.0 compiles for \[75, 80, 90\], not for all of \[80, 120\]"),
    ],
)
def test_refuses_what_cannot_be(
    toolkit: Path, monkeypatch: pytest.MonkeyPatch, setting: str, message: str
) -> None:
    monkeypatch.setenv("GREENKERNELS_CUDA", setting)
    with pytest.raises(_nvcc.SetupError, match=message):
        _nvcc.wanted()
    with pytest.raises(_toolchain.BuildError, match=message):
        _toolchain.torch_extension(ahead_of_time=True)


def test_a_toolkit_without_the_runtime_is_refused(toolkit: Path) -> None:
    (toolkit / "lib" / "libcudart_static.a").unlink()
    with pytest.raises(_nvcc.SetupError, match=r"no libcudart_static\.a"):
        _nvcc.wanted().link_flags()


def test_the_build_file_compiles_each_kernel_for_each_architecture(toolkit: Path) -> None:
    library = _toolchain.torch_extension(ahead_of_time=True)
    text = _build_file.text(library, ("ccache", "g++"), ("-O3",), _toolchain.csrc())
    rule = next(line for line in text.splitlines() if "-gencode" in line)
    assert f"command = ccache {toolkit}/bin/nvcc" in rule
    for target in (
        "arch=compute_80,code=sm_80",
        "arch=compute_90,code=sm_90",
        "arch=compute_90,code=compute_90",
    ):
        assert target in rule
    assert text.count(": compile_cuda ") == len(_nvcc.sources(_toolchain.csrc())) > 0
    assert "cuda_ops" in text


def test_without_nvcc_there_is_no_trace_of_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    library = _toolchain.torch_extension(ahead_of_time=True)
    text = _build_file.text(library, ("g++",), ("-O3",), _toolchain.csrc())
    assert "cuda" not in text.replace(str(tmp_path), "").replace(str(_toolchain.csrc()), "")
