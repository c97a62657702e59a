"""Outputs of convolutions on memory of earlier ones: nobody who still has an output sees it change."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conv_cases import KEEPS_OUTPUTS
from torch import nn

import greenkernels as gk

needs_keeping = pytest.mark.skipif(
    not KEEPS_OUTPUTS, reason="a promise of the compiled kernels, from torch 2.11 on"
)


def layer() -> tuple[nn.Module, torch.Tensor]:
    """Its output takes 802,816 bytes."""
    generator = torch.Generator().manual_seed(0)
    module = gk.nn.WinogradConv2d.from_module(nn.Conv2d(8, 64, 3, padding=1)).eval()
    return module, torch.randn(1, 8, 56, 56, generator=generator)


@needs_keeping
@pytest.mark.parametrize(
    "height", [56, 293, 294]
)  # 0.8 MB; 4.2 MB, which huge pages make 6 MiB; and a little more
@torch.inference_mode()
def test_the_next_output_lies_where_one_that_is_gone_did(height: int) -> None:
    module, _ = layer()
    x = torch.randn(1, 8, height, 56)
    module(x)
    first = module(x)
    place = first.data_ptr()
    del first
    assert module(x).data_ptr() == place


@torch.no_grad()
def test_outputs_that_are_held_keep_their_values() -> None:
    module, x = layer()
    held = [module(x * i) for i in range(8)]
    view = module(x)[:, 3:5]  # the tensor is gone, its memory is not
    for _ in range(8):
        module(-x)
    assert len({output.data_ptr() for output in held}) == len(held)
    for i, output in enumerate(held):
        assert torch.equal(output, module(x * i))
    assert torch.equal(view, module(x)[:, 3:5])


@torch.no_grad()
def test_threads_share_it() -> None:
    module, x = layer()
    wanted = [module(x * i) for i in range(4)]

    def repeat(i: int) -> bool:
        return all(torch.equal(module(x * i), wanted[i]) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(repeat, range(4)))


def test_it_is_a_tensor_like_any_other() -> None:
    module, x = layer()
    output = module(x.requires_grad_())
    assert not output.is_inference()
    assert output.requires_grad
    output.relu_().sum().backward()
    assert x.grad is not None
    with torch.no_grad():
        output = module(x)
        twin = output.clone()
        output.share_memory_()
        assert output.is_shared()
        assert torch.equal(output, twin)
        assert torch.equal(pickle.loads(pickle.dumps(module(x))), twin)
        assert torch.equal(torch.add(twin, 1, out=module(x)), twin + 1)
    with torch.inference_mode():
        assert module(x).is_inference()


PROLOGUE = """
import torch, greenkernels as gk
module = gk.nn.WinogradConv2d.from_module(torch.nn.Conv2d(1, 64, 3, padding=1)).eval()
x = torch.randn(1, 1, 224, 224)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
torch.set_grad_enabled(False)
module(x)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_too_many_outputs_goes_back_to_the_system() -> None:
    code = PROLOGUE + (
        "before = resident()\n"
        "held = [module(x) for _ in range(40)]\n"  # of 12.25 MiB
        "during = resident(); del held\n"
        "print(during - before, resident() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    during, after = (float(mib) for mib in done.stdout.split())
    assert during > 480
    assert after < 256 + 30


def test_a_process_ends_while_outputs_are_held() -> None:
    code = PROLOGUE + "held = [module(x) for _ in range(3)]; torch.held = held"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
