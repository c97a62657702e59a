"""What several processes check of the joules that they sum; distributed_checks.py runs it.

Bytes and operations are derived by hand: n processes around a ring send n - 1 times what each gets, an all-reduce
twice that. A byte costs 20 pJ over a device link and 1200 over the network, an operation in float32 half of 0.38 + 1.31
pJ, and an idle chip 10 W (greenkernels/energy/tables/generic-7nm.json).
"""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from synthetic_clock import SyntheticClock
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import greenkernels as gk
from greenkernels.energy import DistributedMeter, EnergyMeter, Transfer, distributed, sum_over_ranks

DEVICE_J, NETWORK_J, OPERATION_J, IDLE_W = 20e-12, 1200e-12, (0.38e-12 + 1.31e-12) / 2, 10.0
WEIGHT_BYTES = 8 * 4 * 4


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(8, 4, bias=False)


def meter(**options: object) -> DistributedMeter:
    return DistributedMeter(source="model", clock=SyntheticClock(), **options)


def train(net: nn.Module) -> DistributedMeter:
    """Meters three steps and returns the last: the second also agrees on buckets."""
    for _ in range(3):
        net.zero_grad()
        with meter() as found:
            net(torch.ones(2, 8)).sum().backward()
    assert found.energy_j is not None, found.reason
    return found


def sent(found: DistributedMeter, bytes_sent: int) -> None:
    assert found.total.transfers == ((Transfer("device", bytes_sent),) if bytes_sent else ())
    assert found.communication_j.value == pytest.approx(bytes_sent * DEVICE_J)


def energy_of_ddp() -> None:
    sent(train(DistributedDataParallel(linear())), 2 * (dist.get_world_size() - 1) * WEIGHT_BYTES)


def energy_of_fsdp() -> None:
    """The weight is gathered once, and its gradient scattered once: the root keeps what it gathered."""
    sent(train(fully_shard(linear())), 2 * (dist.get_world_size() - 1) * WEIGHT_BYTES)


def two_linears(kind: type[nn.Linear]) -> nn.Sequential:
    layers = nn.Sequential(kind(12, 16, bias=False), nn.ReLU(), kind(16, 8, bias=False)).eval()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return parallelize_module(layers, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


def energy_of_tensor_parallel() -> None:
    """Shards together do the work of the whole layers, not n times it; then the sums of 6 x 8 elements are reduced."""
    n, net, x = dist.get_world_size(), two_linears(nn.Linear), torch.ones(6, 12)
    with meter() as found, torch.no_grad():
        net(x)
    sent(found, 2 * (n - 1) * 6 * 8 * 4)
    operations = 2 * 6 * (12 * 16 + 16 * 8) + 6 * 16 + (n - 1) * 6 * 8
    assert found.total.parts.compute.value == pytest.approx(operations * OPERATION_J)


def energy_of_tensor_parallel_ours() -> None:
    net = two_linears(gk.nn.StrassenLinear)
    with torch.no_grad():
        net(torch.ones(6, 12))  # packs
        with meter() as found:
            net(torch.ones(6, 12))
    sent(found, 2 * (dist.get_world_size() - 1) * 6 * 8 * 4)
    assert found.energy_j is not None, found.reason


def energy_of_ragged_shares() -> None:
    """Bytes that n does not divide still add up."""
    n = dist.get_world_size()
    with meter() as found:
        dist.broadcast(torch.zeros(5, dtype=torch.uint8), src=n - 1)
        dist.all_reduce(torch.zeros(7))
    sent(found, (n - 1) * 5 + 2 * (n - 1) * 28)
    assert found.total.parts.compute.value == pytest.approx((n - 1) * 7 * OPERATION_J)


def energy_is_that_of_the_whole_batch() -> None:
    """Each process has its share of the rows, on a chip that idles as long as the slowest: rank + 1 seconds."""
    n, rank, net = dist.get_world_size(), dist.get_rank(), linear()
    found = meter()
    with found, torch.no_grad():
        net(torch.ones(4 // n, 8))
        found.mine._clock.work(rank + 1, noise=0)
    assert found.total.parts.compute.value == pytest.approx(2 * 4 * 8 * 4 * OPERATION_J)
    assert found.time_s.value == n
    assert found.total.parts.static.value == pytest.approx(IDLE_W * n)
    assert found.energy_j.value == pytest.approx(found.total.parts.total.value)
    assert [one.time_s.value for one in found.total.processes] == [rank + 1 for rank in range(n)]
    everywhere = [None] * n
    dist.all_gather_object(everywhere, found.total.to_json())
    assert everywhere == [everywhere[0]] * n


def energy_over_a_network() -> None:
    """Of two machines, the first with one process: the ring passes the network twice, in shares of the whole."""
    n, rank = dist.get_world_size(), dist.get_rank()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "machine", lambda: f"machine-{min(rank, 1)} id")
        with meter() as found:
            dist.all_reduce(torch.zeros(10))
            found.mine._clock.work(1, noise=0)
    each = 2 * (n - 1) * 40 // n
    expected = {"device": (n - 2) * each, "network": 2 * each}
    assert dict(found.total.transfers) == {link: size for link, size in expected.items() if size}
    assert found.total.parts.static.value == pytest.approx(2 * IDLE_W)
    with meter() as again:
        dist.all_reduce(torch.zeros(10))
    sent(again, n * each)  # the machines of the meter before are forgotten


def energy_unknown_in_one_process() -> None:
    with meter() as found:
        (torch.fft.fft if dist.get_rank() == 1 else torch.relu)(torch.ones(4))
    assert (found.energy_j, found.communication_j, found.source) == (None, None, None)
    assert found.reason.startswith("process 1: could not count: aten::_fft")


def energy_of_a_block_that_raised() -> None:
    found = meter()
    with pytest.raises(ZeroDivisionError), found:
        raise ZeroDivisionError
    assert (found.total, found.energy_j, found.reason) == (None, None, "the block raised ZeroDivisionError")


def energy_summed_afterwards() -> None:
    with pytest.raises(RuntimeError, match="must have a block that ended"):
        sum_over_ranks(EnergyMeter(source="model"))
    net, mine = linear(), EnergyMeter("horowitz-45nm", source="model")
    with mine, torch.no_grad():
        net(torch.ones(2, 8))
    found = sum_over_ranks(mine)
    n = dist.get_world_size()
    assert found.energy_j.value == pytest.approx(n * mine.energy_j.value)  # a table without static power
    assert found.communication_j.value == 0
    processes = ", ".join(map(str, range(n)))
    assert (
        found.reason == f"processes {processes}: without static power, for which horowitz-45nm has no figure"
    )
    assert str(found).splitlines()[-2].split()[:2] == ["all", "model"]


CHECKS = {
    check.__name__: check
    for check in (
        energy_of_ddp,
        energy_of_fsdp,
        energy_of_tensor_parallel,
        energy_of_tensor_parallel_ours,
        energy_of_ragged_shares,
        energy_is_that_of_the_whole_batch,
        energy_over_a_network,
        energy_unknown_in_one_process,
        energy_of_a_block_that_raised,
        energy_summed_afterwards,
    )
}
