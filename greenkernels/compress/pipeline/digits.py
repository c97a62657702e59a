"""The zoo's digit classifiers with their weights, and written digits to judge them by: nothing is trained.

The digits are of another kind than those that the networks learned, so accuracies tell what compression changes, not
how good the networks are.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from ...zoo.networks.ccexam import DIGITS, STYLES, build, digits
from ...zoo.wheels import FetchError
from .data import Data, DataError, Split, checked

# Factories of networks, as recipes name them.
svhn, mnist, usps = (partial(build, name) for name in ("svhn", "mnist", "usps"))


def load(style: str, folder: Path | None, checksum: str = "") -> Data:
    """All 1,797 digits as a network of the zoo takes them, in turns to look at and to test on.

    Args:
        style: name of the network.
        folder: None; the digits are in a package of the index.
        checksum: as for `greenkernels.compress.pipeline.data.load`.

    Raises:
        DataError: they cannot be had, or a folder or another checksum is given.
    """
    if folder is not None:
        raise DataError(
            f"the digits come from the package {DIGITS.package}: data must not be given, got {folder}"
        )
    try:
        pictures, labels = digits(STYLES[style])
    except (FetchError, ImportError) as problem:
        raise DataError(str(problem)) from problem
    found = checked(
        hashlib.sha256(f"{DIGITS.sha256} {STYLES[style]}".encode()).hexdigest(), checksum, "digits"
    )
    train, test = (Split(pictures[at::2].contiguous(), labels[at::2]) for at in (0, 1))
    return Data(train, test, "digits", found)


# Readers, as recipes name them.
svhn_digits, mnist_digits, usps_digits = (partial(load, name) for name in ("svhn", "mnist", "usps"))
