"""The folder for everything that can be made or fetched again: built binaries, weights, photos."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """``GREENKERNELS_CACHE``, else ``greenkernels`` in the user's cache folder (XDG). It need not exist yet."""
    own = os.environ.get("GREENKERNELS_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared).expanduser() if shared else Path.home() / ".cache") / "greenkernels"
