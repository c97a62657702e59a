"""Communication: bytes over links, by hand and as operations run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from greenkernels.energy import Counts, Transfer, all_gather, all_reduce, estimate, joules, transfer
from greenkernels.energy.tally import CountOperations, Tally

NET, X = nn.Linear(8, 4).eval(), torch.randn(2, 8)


def test_a_ring_sends_each_share_around_twice() -> None:
    assert all_reduce(1000, 4) == Transfer("device", 6000)  # 4 devices send 2 * 3 / 4 of it each
    assert all_reduce(1000, 1) == Transfer("device", 0)
    assert all_gather(1000, 4, "network") == Transfer("network", 3000)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: transfer(1, "pigeon"), "link must be one of host, device, network, got 'pigeon'"),
        (lambda: transfer(-1, "host"), "bytes must not be negative"),
        (lambda: all_reduce(8, 0), "devices must be at least 1"),
        (lambda: all_gather(8, 0), "devices must be at least 1"),
    ],
)
def test_refuses(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_byte_over_a_link_costs_what_the_table_says() -> None:
    counts = Counts(0, 0, 0, 0, transfers=(transfer(10**6, "host"), transfer(10**6, "network")))
    assert joules(counts).value == pytest.approx(1e6 * (40e-12 + 1200e-12))
    with pytest.raises(ValueError, match="has no figure for 'host link byte'"):
        joules(counts, hardware="horowitz-45nm")


def test_an_estimate_adds_what_a_call_sends() -> None:
    alone = estimate(NET, X)
    found = estimate(NET, X, communication=[all_reduce(4 * 36, 8)])
    sent = found.counted.communication.value
    assert sent == pytest.approx(2 * 7 * 4 * 36 * 20e-12)
    assert found.energy_j.value == pytest.approx(alone.energy_j.value + sent)
    assert "0.002 MB over the device link" in str(found)
    assert found.to_json()["communication"] == [{"link": "device", "bytes": 2016}]


def test_copies_to_another_device_are_counted() -> None:
    tally = Tally()
    with CountOperations(tally.add):
        torch.ones(6).to("meta")
    (counts,) = tally.work.values()
    assert counts.transfers == (Transfer("host", 24),)


def test_conversions_on_one_device_send_nothing() -> None:
    tally = Tally()
    with CountOperations(tally.add):
        torch.ones(6).to(torch.float64)
    assert not any(counts.transfers for counts in tally.work.values())


@pytest.fixture
def four_devices():
    """A process group of 4 in which nothing is sent."""
    distributed = pytest.importorskip("torch.distributed")
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    if not distributed.is_available():
        pytest.skip("torch has no distributed")
    distributed.init_process_group("fake", store=fake.FakeStore(), rank=0, world_size=4)
    yield distributed
    distributed.destroy_process_group()


def test_collective_operations_are_counted_as_they_run(four_devices) -> None:
    tally = Tally()
    with CountOperations(tally.add):
        four_devices.all_reduce(torch.ones(10))
        functional = torch.distributed._functional_collectives
        functional.wait_tensor(functional.all_reduce(torch.ones(10), "sum", four_devices.group.WORLD))
    sent = [one for counts in tally.work.values() for one in counts.transfers]
    assert not tally.uncounted
    assert sent == [Transfer("device", 2 * 3 * 40 // 4)] * 2  # this process's share
