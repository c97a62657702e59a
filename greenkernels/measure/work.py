"""What one call has to do, counted from shapes: operations and bytes, never timed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Counts of one call; None where nobody counted.

    Attributes:
        direct_flops: operations of the plain algorithm, a multiply-add as two; what "effective" speeds divide.
        flops: operations that this contender really does.
        bytes: memory that has to be read or written at least once: inputs, weights as stored, outputs.
    """

    direct_flops: float | None = None
    flops: float | None = None
    bytes: float | None = None
