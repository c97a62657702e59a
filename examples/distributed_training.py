"""Training a network of ours on several processes: each has a part of the batch, gradients are averaged.

    torchrun --nproc-per-node 2 examples/distributed_training.py

Without torchrun it is one process. Prints the loss of every step, how far the weights of the processes are apart, and
the joules of all processes with those of communication.
"""

from __future__ import annotations

import os

import torch
import torch._dynamo  # before there is a group: what it imports would keep the group, and with it its threads
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import greenkernels as gk

STEPS = 4


def network() -> nn.Sequential:
    """A small classifier."""
    torch.manual_seed(0)
    return nn.Sequential(
        gk.nn.WinogradConv2d.from_module(nn.Conv2d(3, 16, 3, padding=1), activation="relu"),
        gk.nn.DirectConv2d.from_module(nn.Conv2d(16, 16, 3, stride=2, padding=1), activation="relu"),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        gk.nn.StrassenLinear.from_module(nn.Linear(16, 4)),
    )


def train(rank: int, world: int) -> None:
    """The steps, each process with its part of the batch."""
    net = DistributedDataParallel(network())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    images = torch.randn(8 * world, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(8 * world) % 4
    with gk.energy.DistributedMeter() as meter:
        for step in range(STEPS):
            loss = nn.functional.cross_entropy(net(images.chunk(world)[rank]), labels.chunk(world)[rank])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            dist.all_reduce(total := loss.detach() / world)
            if rank == 0:
                print(f"step {step}: loss {total:.4f} on {world} process(es)")
    mine = torch.cat([p.detach().flatten() for p in net.parameters()])
    dist.broadcast(first := mine.clone(), src=0)
    dist.all_reduce(apart := (mine - first).abs().max(), dist.ReduceOp.MAX)
    if rank == 0:
        print(f"weights are {apart:.1e} apart")
        print(meter.total)


def main() -> None:
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    else:
        dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    train(dist.get_rank(), dist.get_world_size())
    # With the last that holds the group its threads end. One that lived on would end the process with an error if it
    # let go of a tensor while the interpreter ends.
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
