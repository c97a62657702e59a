"""Energy of several processes: each meters itself, and `processes` sums the joules, communication split out."""

from __future__ import annotations

import platform
import uuid
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from ..measure.clock import Clock
from ..measure.provenance import Measurement
from .backends import working_device
from .breakdown import Estimate
from .hardware_table import DEFAULT
from .links import place
from .meter import EnergyMeter
from .processes import DistributedEnergy, ProcessEnergy, sum_of

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from typing_extensions import Self


class DistributedMeter:
    """Meters a ``with`` block that every process of a group runs, and sums over them.

    Every process enters together and waits for the others at both ends, outside of what is metered. While the block
    runs, bytes between processes of different machines go over the "network" link, others over the "device" link.

    Example:
        >>> with gk.energy.DistributedMeter() as meter:
        ...     train(batch)
        >>> meter.energy_j, meter.communication_j  # the same in every process

    Args:
        hardware, estimate, source, clock, watch: as for `EnergyMeter`. Transfers in an estimate are those that this
            process sends: `greenkernels.energy.Transfer.share` of a collective.
        group: of torch.distributed; default: all processes.

    Attributes:
        mine: the meter of this process.
        total: a `DistributedEnergy`; None inside of the block, and where the block raised: the others are not waited
            for then.

    Raises:
        ValueError: no such table or source.
        RuntimeError: torch.distributed is not initialized, or the named source cannot be read here.
    """

    def __init__(
        self,
        hardware: str = DEFAULT,
        estimate: Estimate | None = None,
        source: str | None = None,
        clock: Clock | None = None,
        *,
        watch: bool = False,
        group: ProcessGroup | None = None,
    ) -> None:
        self._group = _initialized(group)
        self.mine = EnergyMeter(hardware, estimate, source, clock, watch=watch)
        self.total: DistributedEnergy | None = None

    @property
    def energy_j(self) -> Measurement | None:
        return None if self.total is None else self.total.energy_j

    @property
    def communication_j(self) -> Measurement | None:
        return None if self.total is None else self.total.communication_j

    @property
    def time_s(self) -> Measurement | None:
        return None if self.total is None else self.total.time_s

    @property
    def source(self) -> str | None:
        return None if self.total is None else self.total.source

    @property
    def reason(self) -> str:
        return self.mine.reason if self.total is None else self.total.reason

    def __enter__(self) -> Self:
        self.total = None
        machines = _from_all((torch.distributed.get_rank(), machine()), self._group)
        self._before = place(dict(machines))
        try:
            self.mine.__enter__()
        except BaseException:
            place(self._before)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.mine.__exit__(kind, error, trace)
        finally:
            place(self._before)
        if kind is None:
            self.total = sum_over_ranks(self.mine, self._group)


def sum_over_ranks(meter: EnergyMeter, group: ProcessGroup | None = None) -> DistributedEnergy:
    """The joules of a meter's last block in all processes. Every process of the group must call it.

    Args:
        meter: whose block has ended; a block of its own in every process.
        group: of torch.distributed; default: all processes.

    Returns:
        The same in every process.

    Raises:
        RuntimeError: torch.distributed is not initialized, or the meter has no block that ended.
    """
    group = _initialized(group)
    if meter.time_s is None:
        raise RuntimeError("sum_over_ranks: the meter must have a block that ended, got none")
    mine = ProcessEnergy(
        rank=torch.distributed.get_rank(group),
        machine=machine(),
        device=device(),
        energy_j=meter.energy_j,
        parts=meter.parts,
        transfers=meter.transfers,
        time_s=meter.time_s,
        source=meter.source,
        reason=meter.reason,
        devices=meter.devices,
    )
    return sum_of(_from_all(mine, group))


@cache
def machine() -> str:
    """Name of this machine and what no other machine shares; containers on one machine read the same counters."""
    try:
        own = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        own = f"{uuid.getnode():x}"
    return f"{platform.node()} {own}"


def device() -> str:
    """What this process computes on."""
    if working_device() != "cuda":
        return "cpu"
    return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)


def _initialized(group: ProcessGroup | None) -> ProcessGroup | None:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise RuntimeError(
            "energy: torch.distributed must be initialized for a sum over processes: call init_process_group"
        )
    return group


def _from_all(mine: Any, group: ProcessGroup | None) -> list[Any]:
    """The objects of all processes, in the order of their ranks; waits for all of them."""
    found: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(found, mine, group)
    return found
