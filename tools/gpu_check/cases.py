"""What is compared: shapes of real layers, ours against what torch calls for them: cuDNN, cuBLAS, cuSPARSE."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import networks
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import greenkernels as gk
from greenkernels import ops

T = TypeVar("T")

NONE = (None, None, None, 1.0)  # of a convolution's epilogue: activation, its slope, skip, its factor
# Of ResNets: input and output channels, height, filter, stride, batch
DIRECT_LAYERS = [
    (128, 128, 56, 3, 2, 16),
    (512, 512, 14, 3, 2, 16),
    (256, 64, 56, 1, 1, 16),
    (3, 64, 224, 7, 2, 16),
    (128, 128, 56, 3, 2, 1),
]


@dataclass(frozen=True)
class Contender:
    """One way to compute a case."""

    name: str
    run: Callable[[], Tensor]
    ours: bool = False


@dataclass(frozen=True)
class Case:
    """One problem.

    Attributes:
        stem: of the kernel.
        name: its sizes.
        exact: the result in float64, computed when asked for.
        contenders: ours and theirs.
        tolerance: of the relative error, as a norm; ours beyond it is wrong. Random signs let roundings of a sum of
            n terms grow like the root of n, which stays below 1e-5 for all sizes here, and tile 4 amplifies by 5.
        energy: whether joules are read.
    """

    stem: str
    name: str
    exact: Callable[[], Tensor]
    contenders: tuple[Contender, ...]
    tolerance: float = 1e-5
    energy: bool = False


def all_cases(device: str, small: bool) -> Iterator[Case]:
    """Every case, made when its turn comes; ``small`` ones have a few elements."""
    torch.manual_seed(0)
    for index, sizes in enumerate([(64, 56), (128, 28), (256, 14), (512, 7)]):
        yield winograd(device, *((4, 6) if small else sizes), batch=2 if small else 16, energy=index == 0)
    for channels, out_channels, size, kernel, stride, batch in DIRECT_LAYERS:
        sizes = (4, 5, 6) if small else (channels, out_channels, size)
        yield direct(device, *sizes, kernel, stride, batch=2 if small else batch)
    for channels, size, kernel, stride in [(192, 56, 3, 1), (192, 56, 3, 2), (192, 28, 5, 1), (96, 56, 7, 1)]:
        sizes = (4, 6) if small else (channels, size)
        yield depthwise(device, *sizes, kernel, stride, batch=2 if small else 16)
    for index, size in enumerate((1024, 4096)):
        yield product(device, 8 if small else size, energy=index == 1)
    for size in (4096, 8192):
        yield strassen(device, 8 if small else size)
    for rows in (1, 32, 4096):
        yield integers(device, min(rows, 32) if small else rows, 32 if small else 4096)
    for rows in (1, 256):
        yield sparse(device, rows, 16 if small else 4096, energy=rows == 256)
    for name, make in (("VGG-16", networks.vgg16), ("ResNet-18", networks.resnet18)):
        for batch in (2,) if small else (1, 16):
            yield network(device, name, make, batch, small)


def network(device: str, name: str, make: Callable[..., nn.Module], batch: int, small: bool) -> Case:
    """A whole network by gk.optimize against torch in both memory formats."""
    width, size = (4, 32) if small else (64, 224)
    stock, x = make(width).to(device).eval(), networks.input_for(batch, size, device)
    last, x_last = (
        copy.deepcopy(stock).to(memory_format=torch.channels_last),
        x.to(memory_format=torch.channels_last),
    )
    strict = tf32(False)(
        lambda: gk.plan(stock, x, max_error=1e-5, measure=not small, progress=False, cache=False)
    )()
    ours = strict.apply(stock)
    contenders = [Contender(f"gk.optimize, {strict.memory_format}", tf32(False)(lambda: ours(x)), ours=True)]
    contenders += by_tf32("torch NCHW", lambda: stock(x)) + by_tf32("torch NHWC", lambda: last(x_last))
    exact = lambda: copy.deepcopy(stock).double()(x.double())  # noqa: E731
    return Case("networks", f"{name} {size}x{size} batch {batch}", exact, tuple(contenders), energy=batch > 1)


def tf32(allowed: bool) -> Callable[[Callable[[], T]], Callable[[], T]]:
    """Makes a function run with torch's TF32, which is about ten bits of each factor, or without."""

    def decorate(run: Callable[[], T]) -> Callable[[], T]:
        def called() -> T:
            before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
            try:
                return run()
            finally:
                torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before

        return called

    return decorate


def by_tf32(name: str, run: Callable[[], Tensor]) -> list[Contender]:
    """torch with and without TF32."""
    return [Contender(f"{name} {word}", tf32(on)(run)) for word, on in (("fp32", False), ("TF32", True))]


def convolution(
    device: str,
    stem: str,
    shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    ours: dict[str, Any],
    **case: Any,
) -> Case:
    """Ours by name -> function of input and weight, against torch's, in both layouts."""
    weight, geometry = torch.randn(weight_shape, device=device), case.pop("geometry")
    prefix = case.pop("label", "")
    contenders: list[Contender] = []
    for name, layout in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device, memory_format=layout)
        own = weight.to(memory_format=layout)
        for label, run in ours.items():
            contenders.append(Contender(f"{label} {name}", lambda run=run, x=x: run(x, weight), ours=True))
        contenders += by_tf32(f"cuDNN {name}", lambda x=x, own=own: F.conv2d(x, own, **geometry))
    exact = lambda: F.conv2d(x.double(), weight.double(), **geometry)  # noqa: E731
    sizes = f"{shape[1]}-{weight_shape[0]} {shape[2]}x{shape[3]} batch {shape[0]}"
    return Case(stem, prefix + sizes, exact, tuple(contenders), **case)


def winograd(device: str, channels: int, size: int, batch: int, energy: bool) -> Case:
    """A 3x3 layer of ResNet, the weight packed before."""
    packed: dict[tuple[int, int], Tensor] = {}

    def run(tile: int, x: Tensor, weight: Tensor) -> Tensor:
        key = (tile, weight.data_ptr())
        if key not in packed:
            packed[key] = ops.winograd_conv2d_pack(weight, tile)
        return ops.winograd_conv2d_packed(x, packed[key], out_channels=weight.shape[0], padding=1, tile=tile)

    ours = {f"tile={tile}": lambda x, w, tile=tile: run(tile, x, w) for tile in (2, 4)}
    shapes = (batch, channels, size, size), (channels, channels, 3, 3)
    return convolution(device, "winograd_conv2d", *shapes, ours, geometry={"padding": 1}, energy=energy)


def direct(
    device: str, channels: int, out_channels: int, size: int, kernel: int, stride: int, batch: int
) -> Case:
    """A layer of ResNet that Winograd's method is not for, the weight packed before."""
    packed: dict[int, Tensor] = {}
    geometry = {"stride": stride, "padding": kernel // 2}

    def run(x: Tensor, weight: Tensor) -> Tensor:
        key = weight.data_ptr()
        if key not in packed:
            packed[key] = ops.direct_conv2d_pack(weight)
        sizes = {"out_channels": out_channels, "kernel_size": kernel}
        return ops.direct_conv2d_packed(x, packed[key], **sizes, **geometry)

    shapes = (batch, channels, size, size), (out_channels, channels, kernel, kernel)
    label = f"{kernel}x{kernel} stride {stride}, "
    return convolution(device, "direct_conv2d", *shapes, {"direct": run}, geometry=geometry, label=label)


def depthwise(device: str, channels: int, size: int, kernel: int, stride: int, batch: int) -> Case:
    """A layer of MobileNet, EfficientNet or ConvNeXt, the weight packed before."""
    packed: dict[int, Tensor] = {}
    geometry = {"stride": stride, "padding": kernel // 2}

    def run(x: Tensor, weight: Tensor) -> Tensor:
        key = weight.data_ptr()
        if key not in packed:
            packed[key] = ops.depthwise_conv2d_pack(weight)
        return ops.depthwise_conv2d_packed(x, packed[key], kernel_size=kernel, **geometry)

    shapes = (batch, channels, size, size), (channels, 1, kernel, kernel)
    label = f"{kernel}x{kernel} stride {stride}, "
    every = {**geometry, "groups": channels}
    return convolution(device, "depthwise_conv2d", *shapes, {"depthwise": run}, geometry=every, label=label)


def product(device: str, size: int, energy: bool) -> Case:
    """A square product."""
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    contenders = (
        Contender("sgemm", lambda: ops.sgemm(a, b), ours=True),
        Contender("sgemm 3xTF32", lambda: ops.sgemm(a, b, precision="3xtf32"), ours=True),
        *by_tf32("cuBLAS", lambda: a @ b.T),
    )
    exact = lambda: a.double() @ b.double().T  # noqa: E731
    return Case("sgemm", f"{size} x {size} x {size}", exact, contenders, energy=energy)


def strassen(device: str, size: int) -> Case:
    """A square product with one and two levels of Strassen's algorithm, the weight as it is and packed before."""
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    packed = {levels: ops.strassen_gemm_pack(b, levels) for levels in (1, 2)}
    contenders: list[Contender] = []
    for levels, weight in packed.items():
        plain = lambda levels=levels: ops.strassen_gemm(a, b, levels=levels)  # noqa: E731
        ready = lambda levels=levels, weight=weight: ops.strassen_gemm_packed(  # noqa: E731
            a, weight, n=size, levels=levels
        )
        contenders.append(Contender(f"strassen_gemm, levels={levels}", plain, ours=True))
        contenders.append(Contender(f"strassen_gemm, levels={levels}, packed", ready, ours=True))
    contenders += [Contender("sgemm", lambda: ops.sgemm(a, b), ours=True)]
    contenders += by_tf32("cuBLAS", lambda: a @ b.T)
    exact = lambda: a.double() @ b.double().T  # noqa: E731
    return Case("strassen_gemm", f"{size} x {size} x {size}", exact, tuple(contenders))


def integers(device: str, rows: int, size: int) -> Case:
    """Exact sums of products of int8."""
    a, b = (torch.randint(-128, 128, (n, size), dtype=torch.int8, device=device) for n in (rows, size))
    ours = Contender("int8_gemm", lambda: torch.ops.greenkernels.int8_gemm(a, b, *[None] * 7, 0), ours=True)
    theirs = Contender("cuBLAS int8 (torch._int_mm)", lambda: torch._int_mm(a, b.T))
    exact = lambda: a.double() @ b.double().T  # noqa: E731
    return Case("int8_gemm", f"{rows} x {size} x {size}", exact, (ours, theirs), tolerance=0.0)


def sparse(device: str, rows: int, size: int, energy: bool) -> Case:
    """A linear layer of which a tenth of the weights is left."""
    weight = torch.randn(size, size, device=device) * (torch.rand(size, size, device=device) < 0.1)
    x, csr = torch.randn(rows, size, device=device), weight.to_sparse_csr()
    crow, col, values = csr.crow_indices().int(), csr.col_indices().int(), csr.values()
    theirs = torch.sparse_csr_tensor(crow, col, values, (size, size))
    contenders = (
        Contender(
            "csr_matmul", lambda: torch.ops.greenkernels.csr_matmul(crow, col, values, x, None), ours=True
        ),
        Contender("cuSPARSE", lambda: (theirs @ x.T).T),
        *by_tf32("cuBLAS dense", lambda: x @ weight.T),
    )
    exact = lambda: x.double() @ weight.double().T  # noqa: E731
    return Case("csr_matmul", f"{rows} x {size} x {size}, 90 % zeros", exact, contenders, energy=energy)
