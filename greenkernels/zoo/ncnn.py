"""Weights out of an ncnn ``.bin`` file: one layer after the other, without names, kernels mostly in float16."""

from __future__ import annotations

import struct
from pathlib import Path

import torch
from torch import Tensor, nn

FLOAT16 = 0x01306B47  # the tag before a kernel that is kept in float16; 0 stands for float32
WITH_WEIGHTS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.PReLU)


class _Reader:
    """A position in the file that moves on with each array."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def floats(self, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        size = count * dtype.itemsize
        if self.at + size > len(self.data):  # a shorter array would be broadcast
            raise ValueError(f"it ends at {len(self.data)} bytes, within an array")
        found = torch.frombuffer(bytearray(self.data[self.at : self.at + size]), dtype=dtype).float()
        self.at += -(-size // 4) * 4  # arrays start at multiples of four bytes
        return found

    def kernel(self, count: int) -> Tensor:
        (tag,) = struct.unpack_from("<I", self.data, self.at)
        self.at += 4
        if tag not in (0, FLOAT16):
            raise ValueError(f"ncnn: kernel must be float32 or float16, got storage tag {tag:#010x}")
        return self.floats(count, torch.float16 if tag else torch.float32)


@torch.no_grad()
def load_ncnn(network: nn.Module, path: Path) -> None:
    """Fill all convolutions, linear layers and PReLUs of `network`, in the order in which they are registered.

    Raises:
        ValueError: the file holds more or less than these layers need.
    """
    reader = _Reader(path.read_bytes())
    try:
        for layer in network.modules():
            if isinstance(layer, WITH_WEIGHTS):
                _fill(layer, reader)
    except (RuntimeError, ValueError, struct.error) as error:
        raise ValueError(f"ncnn: {path.name} does not fit {type(network).__name__} ({error})") from error
    if reader.at != len(reader.data):
        raise ValueError(
            f"ncnn: {path.name} has {len(reader.data)} bytes, {type(network).__name__} took {reader.at}"
        )


def _fill(layer: nn.Module, reader: _Reader) -> None:
    weight = layer.weight
    if isinstance(layer, nn.PReLU):
        weight.copy_(reader.floats(weight.numel()))
        return
    kernel = reader.kernel(weight.numel())
    if isinstance(layer, nn.ConvTranspose2d):  # ncnn: [out_c, in_c, kh, kw]; torch: [in_c, out_c, kh, kw]
        in_c, out_c, *taps = weight.shape
        weight.copy_(kernel.view(out_c, in_c, *taps).transpose(0, 1))
    else:
        weight.copy_(kernel.view_as(weight))
    layer.bias.copy_(reader.floats(layer.bias.numel()))
