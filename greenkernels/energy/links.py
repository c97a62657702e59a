"""Bytes that leave a device: between processor and GPU, between GPUs, over a network."""

from __future__ import annotations

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
