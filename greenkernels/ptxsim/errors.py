"""What the simulator has to say against a kernel or a launch: one class per detector."""

from __future__ import annotations


class PtxError(Exception):
    """The kernel or its launch is wrong, or needs something that the simulator does not know."""


class UnsupportedPtx(PtxError):
    """An instruction, modifier, operand or directive that the simulator does not implement; it is named."""


class LaunchError(PtxError):
    """A launch that a GPU would refuse: too many threads, too much shared memory, wrong arguments."""


class OutOfBoundsError(PtxError):
    """An access to memory that belongs to no buffer and no shared variable."""


class UninitializedReadError(PtxError):
    """A read of memory that nothing has written."""


class MisalignedAccessError(PtxError):
    """An address that is no multiple of the size of the access."""


class DivergentBarrierError(PtxError):
    """Threads of one warp that do not reach the same barrier or warp operation together."""


class DeadlockError(PtxError):
    """Threads that wait for others that never come."""


class RunawayError(PtxError):
    """More instructions than the launch was allowed to execute: most likely a loop without end."""


class RaceError(PtxError):
    """Accesses of several threads to the same memory, one of them a write, with nothing that orders them."""
