"""What was measured, kept on disk for the next run on the same machine with the same versions and threads.

A file an entry, below ``cache_dir()/plans/<hash of machine, threads, versions and kernels>``. A file appears by one
rename, so a reader finds a whole one or none; what cannot be read is ignored with a warning and measured again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._jit import cache_dir

SCHEMA = 1  # raised when the form or the meaning of an entry changes


class CacheWarning(RuntimeWarning):
    """An entry of the cache could not be read or written."""


@dataclass(frozen=True)
class Entry:
    """What an entry holds, and when it was made."""

    data: dict[str, Any]
    date: str


@dataclass(frozen=True)
class Cache:
    """Entries of one environment; `environment` is None for a cache that holds nothing.

    Attributes:
        environment: facts without which no number is worth anything; their hash names the folder.
    """

    environment: dict[str, object] | None = None

    @property
    def folder(self) -> Path:
        return cache_dir() / "plans" / digest(self.environment)[:16]

    def read(self, kind: str, key: object) -> Entry | None:
        """The entry, or None."""
        if self.environment is None:
            return None
        path = self._path(kind, key)
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            warnings.warn(f"{path} cannot be read and is ignored ({problem})", CacheWarning, stacklevel=2)
            return None
        try:
            found = json.loads(found)
            if found["schema"] != SCHEMA or found["key"] != digest(key):
                raise ValueError("it is another entry")
            return Entry(dict(found["data"]), str(found["date"]))
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            self.damaged(kind, key, problem)
            return None

    def write(self, kind: str, key: object, data: dict[str, Any]) -> None:
        """Keep an entry. A disk that cannot be written to is warned about; planning goes on."""
        if self.environment is None:
            return
        path = self._path(kind, key)
        entry = {
            "schema": SCHEMA,
            "key": digest(key),
            "date": now(),
            "environment": self.environment,
            "data": data,
        }
        half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            half.write_text(json.dumps(entry), encoding="utf-8")
            half.replace(path)
        except OSError as problem:
            warnings.warn(
                f"{path} cannot be written ({problem}); nothing is kept", CacheWarning, stacklevel=2
            )

    def damaged(self, kind: str, key: object, problem: Exception) -> None:
        """Say that an entry is of no use."""
        path = self._path(kind, key)
        warnings.warn(f"{path} is damaged and ignored ({problem!r})", CacheWarning, stacklevel=3)

    def _path(self, kind: str, key: object) -> Path:
        return self.folder / f"{kind}-{digest(key)[:32]}.json"


def digest(key: object) -> str:
    """Hash of a key: nested lists, dicts and tuples of plain values."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=repr).encode()).hexdigest()


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
