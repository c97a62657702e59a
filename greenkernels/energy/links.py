"""Bytes that leave a device: between processor and GPU, between GPUs, over a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LINKS = ("host", "device", "network")  # PCIe and the like; NVLink and the like; Ethernet or radio


class Transfer(NamedTuple):
    """Bytes over one kind of link, each counted once however many devices it passes.

    Attributes:
        link: "host", "device" or "network".
        bytes: that were sent.
    """

    link: str
    bytes: int

    def share(self, processes: int, rank: int) -> Transfer:
        """What one of the processes that took part is charged for: all their shares add up to these bytes.

        Raises:
            ValueError: no such process.
        """
        if not 0 <= rank < processes:
            raise ValueError(f"energy: rank must be one of {processes}, got {rank}")
        return self._replace(bytes=share(self.bytes, processes, rank))


def share(whole: int, parts: int, index: int) -> int:
    """One of so many parts of a whole that differ by 1 at most and add up to it, whether it divides or not."""
    return whole * (index + 1) // parts - whole * index // parts


def transfer(bytes_sent: int, link: str) -> Transfer:
    """Bytes sent once over a link: host-device copies, requests and answers over a network.

    Raises:
        ValueError: no such link, or a negative number of bytes.
    """
    if link not in LINKS:
        raise ValueError(f"energy: link must be one of {', '.join(LINKS)}, got {link!r}")
    if bytes_sent < 0:
        raise ValueError(f"energy: bytes must not be negative, got {bytes_sent}")
    return Transfer(link, int(bytes_sent))


def all_reduce(tensor_bytes: int, devices: int, link: str = "device") -> Transfer:
    """A ring all-reduce: each of n devices sends ``2 (n - 1) / n`` of the tensor.

    Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 2009.

    Args:
        tensor_bytes: of the tensor on one device.
        devices: n.
        link: that joins them.
    """
    if devices < 1:
        raise ValueError(f"energy: devices must be at least 1, got {devices}")
    return transfer(2 * (devices - 1) * tensor_bytes, link)


def all_gather(gathered_bytes: int, devices: int, link: str = "device") -> Transfer:
    """An all-gather in a ring: each of n devices receives all but its own share of the gathered tensor.

    Args:
        gathered_bytes: of the tensor that every device holds at the end.
        devices: n.
        link: that joins them.
    """
    if devices < 1:
        raise ValueError(f"energy: devices must be at least 1, got {devices}")
    return transfer((devices - 1) * gathered_bytes, link)


_machines: dict[int, str] = {}  # rank in the world -> machine, while a DistributedMeter runs


def place(machines: dict[int, str]) -> dict[int, str]:
    """From now on processes of different machines are joined by the network.

    Args:
        machines: name by rank in the world; empty: nobody knows, and all are joined by "device" links.

    Returns:
        What was known before.
    """
    global _machines
    before, _machines = _machines, machines
    return before


def link_between(one: int, other: int) -> str:
    """The link that two processes are joined by, named by their ranks in the world."""
    return "network" if _machines.get(one) != _machines.get(other) else "device"


def summed(transfers: Sequence[Transfer]) -> tuple[Transfer, ...]:
    """One transfer a link, in the order of `LINKS`; links that nothing passed are left out."""
    sums = {link: sum(one.bytes for one in transfers if one.link == link) for link in LINKS}
    return tuple(Transfer(link, bytes_sent) for link, bytes_sent in sums.items() if bytes_sent)
