"""What one of several processes checks; `python distributed_checks.py RANK WORLD STORE OUT` runs all and writes JSON.

Every process has the whole batch too, and compares with the stock network in float64 or with one process alone.
"""

from __future__ import annotations

import copy
import datetime
import json
import os
import sys
import traceback
import warnings
from pathlib import Path

import distributed_energy_checks
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import greenkernels as gk

EPS = torch.finfo(torch.float32).eps
WIDTH = 16


def network() -> nn.Sequential:
    """Every kind of layer of ours that is trained, on small ragged sizes; the same in every process."""
    torch.manual_seed(0)
    sparse = nn.Linear(WIDTH, WIDTH)
    with torch.no_grad():
        sparse.weight *= torch.rand_like(sparse.weight) < 0.5
    return nn.Sequential(
        gk.nn.WinogradConv2d.from_module(nn.Conv2d(3, 9, 3, padding=1), activation="relu"),
        gk.nn.DirectConv2d.from_module(nn.Conv2d(9, 8, 3, stride=2)),
        gk.nn.DepthwiseConv2d.from_module(nn.Conv2d(8, 8, 3, groups=8)),
        gk.nn.StrassenConv2d.from_module(nn.Conv2d(8, WIDTH, 1)),
        nn.Flatten(2),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        gk.nn.SparseLinear.from_module(sparse),
        gk.nn.StrassenLinear.from_module(nn.Linear(WIDTH, 5)),
    )


def batch() -> torch.Tensor:
    """As many images as each number of processes here divides."""
    return torch.randn(4, 3, 11, 13, generator=torch.Generator().manual_seed(1))


def share(whole: torch.Tensor) -> torch.Tensor:
    return whole.chunk(dist.get_world_size())[dist.get_rank()]


def close(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """The sums of both hold the same terms in another order.

    A value meets at most 40 layers' worth of roundings in sums of at most 1024 terms on its way forward and back, each
    of eps / 2 of the largest value; independent ones add up as their root, and 5 standard deviations cover the worst.
    Winograd's tiles grow those of one layer by 4.8 (tests/winograd_cases.py).
    """
    bound = 5 * 4.8 * EPS / 2 * (40 * 1024) ** 0.5 * max(1.0, expected.abs().max().item())
    error = (found - expected).abs().max().item()
    assert error <= bound, f"{what}: differs by {error:.2e}, more than {bound:.2e}"


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def step(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """One step of training towards zero; the output before it."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    out = net(x)
    out.square().mean().backward()
    optimizer.step()
    return out.detach()


def compare_training(net: nn.Module, alone: nn.Module, names=lambda name: name) -> None:
    """Two steps on shares of the batch against two of one process on all of it; outputs in eval mode in between."""
    x = batch()
    for _ in range(2):
        for module in (net, alone):
            module.train()
        close(step(net, share(x)), share(step(alone, x)), "output in training")
        expected = {name: p for name, p in alone.named_parameters()}
        for name, parameter in net.named_parameters():
            close(whole(parameter.grad), expected[names(name)].grad, f"gradient of {name}")
            close(whole(parameter.detach()), expected[names(name)].detach(), f"{name} after the step")
        net.zero_grad()
        alone.zero_grad()
        for module in (net, alone):
            module.eval()
        with torch.no_grad():
            for _ in range(2):  # the second on packed weights
                close(net(share(x)), share(alone(x)), "output in eval mode")


def ddp() -> None:
    compare_training(DistributedDataParallel(network()), network(), lambda name: name.removeprefix("module."))


def ddp_takes_weights_of_rank_0() -> None:
    net = network().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(dist.get_rank())
        net(batch())  # packs what rank 0 will overwrite
        close(
            DistributedDataParallel(net)(batch()),
            network().eval()(batch()),
            "output of the weights of rank 0",
        )


def sharded(net: nn.Module) -> nn.Module:
    for layer in net:
        if any(True for _ in layer.parameters()):
            fully_shard(layer)
    return fully_shard(net)


def fsdp() -> None:
    compare_training(sharded(network()), network())


def fsdp_notices_writes_to_shards() -> None:
    net, alone = sharded(network()).eval(), network().eval()
    with torch.no_grad():
        net(batch())
        for module in (net, alone):
            module(batch())
            for parameter in module.parameters():
                parameter.mul_(-0.5)
        close(net(batch()), alone(batch()), "output after a write to the shards")


def linears(kind: type = gk.nn.StrassenLinear, bias: bool = True, **options: object) -> nn.Sequential:
    torch.manual_seed(0)
    up, down = nn.Linear(12, WIDTH, bias), nn.Linear(WIDTH, 8, bias)
    return nn.Sequential(kind.from_module(up, **options), nn.ReLU(), kind.from_module(down))


def parallel(net: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return parallelize_module(net, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


def tensor_parallel(**options: object) -> None:
    net, alone = parallel(linears(**options)), linears(**options)
    x = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(1))
    for _ in range(2):
        close(step(net.train(), x), step(alone.train(), x), "output in training")
        for (name, p), q in zip(net.named_parameters(), alone.parameters(), strict=True):
            close(whole(p.grad), q.grad, f"gradient of {name}")
            close(whole(p.detach()), q.detach(), f"{name} after the step")
        net.zero_grad()
        alone.zero_grad()
        with torch.no_grad():
            for _ in range(2):
                close(net.eval()(x), alone.eval()(x), "output in eval mode")
    for layer in (net[0], net[2]):
        assert not layer.fallbacks, layer.fallbacks
        assert layer.packed is not None


def tensor_parallel_without_bias() -> None:
    tensor_parallel(bias=False)


def tensor_parallel_with_activation() -> None:
    tensor_parallel(activation="gelu")


def gradient_of_input() -> None:
    x = torch.randn(6, 12, generator=torch.Generator().manual_seed(1))
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    parallel(linears())(found).square().sum().backward()
    linears()(expected).square().sum().backward()
    close(found.grad, expected.grad, "gradient of the input")


def refused() -> None:
    quantized = (gk.nn.Int8Linear, gk.nn.Int4Linear, gk.nn.CodebookLinear)
    cuts = [(kind, {"0": ColwiseParallel()}) for kind in (*quantized, gk.nn.SparseLinear)]
    cuts += [(kind, {"2": RowwiseParallel()}) for kind in quantized]
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for kind, cut in cuts:
        for bias in (True, False):
            with pytest.raises(RuntimeError, match="must be no DTensor"):
                parallelize_module(linears(kind, bias), mesh, cut)(torch.randn(6, 12))


def int8_fsdp() -> None:
    x = torch.randn(4, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = linears(gk.nn.Int8Linear).eval()(x)
        assert torch.equal(sharded(linears(gk.nn.Int8Linear).eval())(x), expected)


def state_dict_of_shards() -> None:
    net = network().eval()
    shards = sharded(copy.deepcopy(net))
    state = {name: whole(value) for name, value in shards.state_dict().items()}
    other = network()
    other.load_state_dict(state)
    with torch.no_grad():
        close(other.eval()(batch()), net(batch()), "output after state_dict")


CHECKS = {
    check.__name__: check
    for check in (
        ddp,
        ddp_takes_weights_of_rank_0,
        fsdp,
        fsdp_notices_writes_to_shards,
        tensor_parallel,
        tensor_parallel_without_bias,
        tensor_parallel_with_activation,
        gradient_of_input,
        refused,
        int8_fsdp,
        state_dict_of_shards,
    )
} | distributed_energy_checks.CHECKS


def main(rank: int, world: int, store: str, out: str) -> None:
    """Writes name -> traceback, "" for a check that passed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    limit = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world, timeout=limit)
    found = {}
    for name, check in CHECKS.items():
        try:
            check()
            found[name] = ""
        except Exception:
            found[name] = traceback.format_exc()
        Path(out).write_text(json.dumps(found))
    dist.barrier()
    # Meshes and shards still hold the group: one of its threads that let go of a tensor while the interpreter ends
    # would end the process with an error.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
