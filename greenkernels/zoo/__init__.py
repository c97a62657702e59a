"""Real networks with real weights and inputs: one module a network, each with a function ``job()``."""

from __future__ import annotations

import importlib
from pathlib import Path

from .job import Job
from .wheels import FetchError, WheelFile, fetch

NETWORKS = ("demosaicnet",)

__all__ = ["NETWORKS", "FetchError", "Job", "WheelFile", "fetch", "load"]


def load(name: str, photo: Path | None = None) -> Job:
    """The job of that name; `photo` is a picture of the user's own in place of the default one.

    Raises:
        ValueError: no network has that name.
        FetchError: weights or photo cannot be had.
    """
    if name not in NETWORKS:
        raise ValueError(f"zoo: network must be one of {', '.join(NETWORKS)}, got {name!r}")
    return importlib.import_module(f".{name}", __name__).job(photo)
