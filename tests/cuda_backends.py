"""Where tests of CUDA ops run: on the PTX simulator, with tensors of the CPU, or on a GPU: the fixture ``gpu``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from greenkernels import _nvcc


class Simulated:
    """The ops of csrc/cuda_ops on the simulator, every detector on."""

    def __init__(self) -> None:
        if _nvcc.find_nvcc() is None:
            pytest.skip("no nvcc")
        pytest.importorskip("numpy")
        from greenkernels.ptxsim import kernels
        from greenkernels.ptxsim.device import Device

        self._device = Device(kernels.compiled())

    def run(self, op: str, *args: Any, **kwargs: Any) -> Any:
        """Calls an op of ``torch.ops.greenkernels`` by its name, such as "sgemm.out"."""
        return self._device.run(op, *args, **kwargs)

    @contextmanager
    def small(self, multiprocessors: int = 1) -> Iterator[None]:
        """A device of few multiprocessors, for which launchers choose what they choose for large problems."""
        before, self._device.multiprocessors = self._device.multiprocessors, multiprocessors
        yield
        self._device.multiprocessors = before

    @property
    def reports(self) -> Sequence[Any]:
        """Of the launches of the last call."""
        return self._device.reports

    def place(self, tensor: Tensor) -> Tensor:
        """A tensor of the CPU where ``run`` wants it, strides and offset kept."""
        return tensor


class Hardware:
    """The same on a GPU."""

    reports = None  # nothing is counted there
    small = staticmethod(nullcontext)

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            pytest.skip("no GPU")
        if not torch._C._dispatch_has_kernel_for_dispatch_key("greenkernels::sgemm", "CUDA"):
            pytest.skip("the binary has no CUDA kernels")

    def run(self, op: str, *args: Any, **kwargs: Any) -> Any:
        name, _, overload = op.partition(".")
        packet = getattr(torch.ops.greenkernels, name)
        return getattr(packet, overload or "default")(*args, **kwargs)

    def place(self, tensor: Tensor) -> Tensor:
        if tensor.numel() == 0:
            return tensor.cuda()
        storage = torch.empty(0, dtype=tensor.dtype, device="cuda")
        storage.set_(tensor.untyped_storage().cuda())
        return storage.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


BACKENDS = {"simulated": Simulated, "cuda": Hardware}
