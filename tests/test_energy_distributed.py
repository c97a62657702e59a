"""Joules of several processes: shares of collectives, and sums that count nothing twice; without any process."""

from __future__ import annotations

import json

import pytest
import torch

from greenkernels.energy import DeviceReading, DistributedMeter, EnergyMeter, Transfer, sum_over_ranks
from greenkernels.energy.links import place
from greenkernels.energy.model import Joules
from greenkernels.energy.processes import ProcessEnergy, sum_of
from greenkernels.energy.tally import CountOperations, Tally
from greenkernels.measure.provenance import Kind, Measurement

dist = pytest.importorskip("torch.distributed")
if not dist.is_available():
    pytest.skip("torch has no distributed", allow_module_level=True)
from torch.testing._internal.distributed import fake_pg  # noqa: E402

N = 4
B = 48  # bytes of the 12 float32 that each process brings


def twelve() -> torch.Tensor:
    return torch.zeros(12)


def parts(rank: int) -> list[torch.Tensor]:
    return [twelve() for _ in range(N)]


# What one process calls, what all of them send together, and the elements that are added up.
COLLECTIVES = {
    "all_reduce": (lambda rank: dist.all_reduce(twelve()), 2 * 3 * B, 3 * 12),
    "broadcast": (lambda rank: dist.broadcast(twelve(), src=2), 3 * B, 0),
    "reduce": (lambda rank: dist.reduce(twelve(), dst=1), 3 * B, 3 * 12),
    "all_gather": (lambda rank: dist.all_gather(parts(rank), twelve()), 3 * N * B, 0),
    "all_gather_into_tensor": (
        lambda rank: dist.all_gather_into_tensor(torch.zeros(N * 12), twelve()),
        3 * N * B,
        0,
    ),
    "reduce_scatter": (lambda rank: dist.reduce_scatter(twelve(), parts(rank)), 3 * N * B, 3 * N * 12),
    "reduce_scatter_tensor": (
        lambda rank: dist.reduce_scatter_tensor(torch.zeros(3), twelve()),
        3 * B,
        3 * 12,
    ),
    "all_to_all": (lambda rank: dist.all_to_all(parts(rank), parts(rank)), N * 3 * B, 0),
    "all_to_all_single": (lambda rank: dist.all_to_all_single(twelve(), twelve()), N * 36, 0),
    "gather": (lambda rank: dist.gather(twelve(), parts(rank) if rank == 1 else None, dst=1), 3 * B, 0),
    "scatter": (lambda rank: dist.scatter(twelve(), parts(rank) if rank == 1 else None, src=1), 3 * B, 0),
    "send": (lambda rank: dist.send(twelve(), 0) if rank == 3 else None, B, 0),
    "receive": (lambda rank: dist.recv(twelve(), 3) if rank == 0 else None, 0, 0),
    "barrier": (lambda rank: dist.barrier(), 0, 0),
}


def counted(rank: int, call) -> Tally:
    """What that one of four processes counts; nothing is really sent."""
    tally = Tally()
    dist.init_process_group("fake", store=fake_pg.FakeStore(), rank=rank, world_size=N)
    try:
        with CountOperations(tally.add):
            call(rank)
    finally:
        dist.destroy_process_group()
    assert not tally.uncounted
    return tally


@pytest.mark.parametrize("name", COLLECTIVES)
def test_shares_of_a_collective_add_up(name: str) -> None:
    call, bytes_sent, added = COLLECTIVES[name]
    tallies = [counted(rank, call) for rank in range(N)]
    found = [one for tally in tallies for counts in tally.work.values() for one in counts.transfers]
    assert sum(one.bytes for one in found) == bytes_sent
    assert {one.link for one in found} <= {"device"}
    assert sum(counts.flops for tally in tallies for counts in tally.work.values()) == added


def test_bytes_to_another_machine_go_over_the_network() -> None:
    """Processes 0 and 1 on one machine, 2 and 3 on another."""
    before = place({0: "a", 1: "a", 2: "b", 3: "b"})
    try:
        call = COLLECTIVES["all_reduce"][0]
        links = [next(iter(counted(rank, call).work.values())).transfers[0].link for rank in range(N)]
        exchanged = next(iter(counted(0, COLLECTIVES["all_to_all"][0]).work.values())).transfers
    finally:
        assert place(before) != before
    assert links == ["device", "network", "device", "network"]  # to the next, and from the last to the first
    assert exchanged == (Transfer("device", B), Transfer("network", 2 * B))


@pytest.mark.parametrize("size", [0, 1, 7, 100, 2**40 + 1])
@pytest.mark.parametrize("processes", [1, 2, 3, 64])
def test_shares_of_a_transfer_add_up(size: int, processes: int) -> None:
    shares = [Transfer("network", size).share(processes, rank).bytes for rank in range(processes)]
    assert sum(shares) == size
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("rank", [-1, 3])
def test_refuses_a_share_of_no_process(rank: int) -> None:
    with pytest.raises(ValueError, match="rank must be one of 3"):
        Transfer("network", 8).share(3, rank)


def joules(value: float, kind: Kind = Kind.MODELLED) -> Measurement:
    return Measurement(value, "J", kind, 0.5 * value, 2 * value)


def process(rank: int, machine: str = "a 1", static: float | None = 3.0, **facts: object) -> ProcessEnergy:
    modelled = Joules(joules(1), joules(2), joules(4), None if static is None else joules(static))
    given = {
        "device": "cpu",
        "energy_j": modelled.total,
        "parts": modelled,
        "transfers": (Transfer("device", 10),),
        "time_s": Measurement(1.0 + rank, "s", Kind.MEASURED),
        "source": "model",
        "reason": "",
    }
    return ProcessEnergy(rank, machine, **given | facts)


def read(rank: int, *counters: tuple[str, float], **facts: object) -> ProcessEnergy:
    """A process that read counters, each with its J."""
    devices = tuple(DeviceReading(name, joules(value, Kind.MEASURED)) for name, value in counters)
    whole = joules(sum(value for _, value in counters), Kind.MEASURED)
    given = {"energy_j": whole, "parts": None, "transfers": (), "source": "rapl", "devices": devices}
    return process(rank, **given | facts)


def test_static_power_counts_once_a_device() -> None:
    """Two processes on one processor, one on a GPU beside it, one on another machine."""
    slower = process(1, static=5.0)
    found = sum_of([slower, process(0), process(2, device="GPU-1"), process(3, machine="b 2")])
    assert [one.rank for one in found.processes] == [0, 1, 2, 3]
    assert found.parts.compute.value == 4 * 1
    assert found.communication_j.value == 4 * 4
    assert found.parts.static.value == 5 + 3 + 3
    assert found.energy_j.value == 4 * (1 + 2 + 4) + 11
    assert (found.energy_j.kind, found.source, found.time_s.value) == (Kind.MODELLED, "model", 4.0)
    assert found.transfers == (Transfer("device", 40),)


def test_a_counter_counts_once_a_machine_in_the_longest_block() -> None:
    found = sum_of(
        [
            read(0, ("package-0", 90.0), ("package-1", 50.0)),
            read(1, ("package-0", 100.0)),
            read(2, ("package-0", 7.0), machine="b 2"),
            read(3, ("GPU-1, energy counter", 300.0), source="nvml"),
        ]
    )
    assert found.energy_j.value == 100 + 50 + 7 + 300
    assert (found.energy_j.kind, found.source) == (Kind.MEASURED, "rapl+nvml")
    assert (found.parts, found.communication_j) == (None, None)


def test_a_counter_without_devices_counts_once_a_device() -> None:
    found = sum_of([read(0, devices=(), energy_j=joules(5.0, Kind.MEASURED)) for _ in range(2)])
    assert found.energy_j.value == 5.0


def test_kinds_do_not_mix() -> None:
    found = sum_of([process(0), read(1, ("package-0", 9.0))])
    assert (found.energy_j, found.source, found.communication_j) == (None, None, None)
    assert (
        found.reason
        == "joules of different kinds do not add: modelled in process 0 and measured in process 1"
    )


def test_what_one_does_not_know_all_do_not_know() -> None:
    lost = {"energy_j": None, "parts": None, "source": None}
    found = sum_of([process(0), process(1, reason="lost", **lost), process(2, reason="lost", **lost)])
    assert found.energy_j is None
    assert found.reason == "processes 1, 2: lost"
    found = sum_of([process(0), process(1, static=None, device="GPU-1")])
    assert found.energy_j is None
    assert "static power" in found.reason


def test_a_sum_prints_and_serializes() -> None:
    found = sum_of([process(0), process(1)])
    lines = str(found).splitlines()
    assert lines[-1].split() == ["all", "model", "2", "17", "8", "0.000"]
    data = json.loads(json.dumps(found.to_json()))
    assert data["transfers"] == [{"link": "device", "bytes": 20}]
    assert [one["rank"] for one in data["processes"]] == [0, 1]


def test_needs_a_process_group() -> None:
    with pytest.raises(RuntimeError, match=r"torch\.distributed must be initialized"):
        DistributedMeter()
    with EnergyMeter() as meter:
        torch.ones(2)
    with pytest.raises(RuntimeError, match=r"torch\.distributed must be initialized"):
        sum_over_ranks(meter)
