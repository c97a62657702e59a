"""Other software doing the same work: what is installed of it, each driven in its best form.

One file a rival in ``drivers/``, found by itself; a rival that needs a Python or an environment of its own runs in a
worker process (`worker`) with a program from ``served/``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import metadata

from ..contender import Contender
from .task import (
    CannotRun,
    ConvTask,
    Int8ConvTask,
    Int8LinearTask,
    LinearTask,
    MatmulTask,
    NetworkTask,
    Task,
)

__all__ = [
    "CannotRun",
    "ConvTask",
    "Int8ConvTask",
    "Int8LinearTask",
    "LinearTask",
    "MatmulTask",
    "NetworkTask",
    "Rival",
    "Task",
    "contenders",
    "installed",
    "registered",
]


LONGEST_REASON = 200  # characters of a foreign error message; some are pages in one line


@dataclass(frozen=True)
class Rival:
    """One registration.

    Attributes:
        name: of its contender.
        about: one line, how it is driven.
        tasks: the task classes that it can build.
        version: of the software; raises CannotRun where it is missing or senseless on this machine.
        build: its contender for the task and for `torch.get_num_threads()` threads; raises CannotRun.
        get: the command that installs it, or "" where torch brings it along.
    """

    name: str
    about: str
    tasks: tuple[type, ...]
    version: Callable[[], str]
    build: Callable[[Task], Contender]
    get: str = ""


@cache
def registered() -> tuple[Rival, ...]:
    """Every rival with a file in ``drivers/``, in the order of the files."""
    package = importlib.import_module(".drivers", __name__)
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f".{name}", package.__name__) for name in names]
    return tuple(rival for module in modules for rival in module.RIVALS)


def contenders(task: Task, rivals: Sequence[Rival] | None = None) -> tuple[list[Contender], dict[str, str]]:
    """Every rival that can do the task here, and for each other one its name and why not.

    Builds for the number of threads that torch is set to now. A rival that fails while it is built is left out with
    what it said: no rival can end a run.

    Args:
        task: the work.
        rivals: which to ask; default: all that are registered.
    """
    found: list[Contender] = []
    why_not: dict[str, str] = {}
    for rival in registered() if rivals is None else rivals:
        try:
            if not isinstance(task, rival.tasks):
                raise CannotRun(f"is not driven for a {type(task).__name__} here")
            rival.version()
            contender = rival.build(task)
            if (
                contender.timer is None and contender.fresh is None
            ):  # a process for each copy would be too much
                contender = replace(contender, fresh=partial(rival.build, task))
            found.append(contender)
        except CannotRun as reason:
            why_not[rival.name] = str(reason)
        except Exception as error:  # foreign software may fail in any way
            first = (str(error).strip().splitlines() or [""])[0]
            why_not[rival.name] = f"raised {type(error).__name__}: {first[:LONGEST_REASON]}"
    return found, why_not


def installed(distribution: str, get: str) -> str:
    """The version of an installed distribution.

    Raises:
        CannotRun: it is not installed; says the command `get`.
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        raise CannotRun(f"not installed: {get}") from None
