"""Modules and planning on a GPU: kernels run there without a fallback, and whole networks are planned by its clock."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import greenkernels as gk
from greenkernels.measure.clock import CudaClock
from greenkernels.nn.fallbacks import why_stock
from greenkernels.planning import survey
from greenkernels.planning.candidates import named, registered

ON_CUDA = ("csr_matmul", "depthwise_conv2d", "direct_conv2d", "strassen_gemm", "winograd_conv2d")


def winograd(tile: int) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(13, 21, 3, padding=1)
    return conv, gk.nn.WinogradConv2d.from_module(copy.deepcopy(conv), tile=tile, strict=True)


def direct() -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(13, 21, 3, stride=2, padding=1)
    return conv, gk.nn.DirectConv2d.from_module(copy.deepcopy(conv), strict=True)


def depthwise() -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(13, 13, 3, padding=1, groups=13)
    return conv, gk.nn.DepthwiseConv2d.from_module(copy.deepcopy(conv), strict=True)


def sparse() -> tuple[nn.Module, nn.Module]:
    linear = nn.Linear(17, 23)
    with torch.no_grad():
        linear.weight.mul_(torch.rand_like(linear.weight) < 0.3)
    return linear, gk.nn.SparseLinear.from_module(copy.deepcopy(linear), strict=True)


def strassen(levels: int) -> tuple[nn.Module, nn.Module]:
    linear = nn.Linear(17, 23)
    return linear, gk.nn.StrassenLinear.from_module(copy.deepcopy(linear), levels=levels, strict=True)


PAIRS = {"tile 2": lambda: winograd(2), "tile 4": lambda: winograd(4), "tile 6": lambda: winograd(6)} | {
    function.__name__: function for function in (direct, depthwise, sparse)
}
PAIRS |= {f"{levels} levels": lambda levels=levels: strassen(levels) for levels in (0, 1, 2)}


@pytest.fixture
def strict_float32() -> None:
    """torch's own layers in float32, as ours are."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
on_gpu = pytest.mark.parametrize("name", [pytest.param(name, marks=needs_gpu) for name in PAIRS])


def inputs_of(stock: nn.Module) -> torch.Tensor:
    return torch.randn(5, 17) if isinstance(stock, nn.Linear) else torch.randn(2, 13, 11, 9)


def relative(out: torch.Tensor, exact: torch.Tensor) -> float:
    return ((out.double() - exact).norm() / exact.norm()).item()


@on_gpu
def test_a_module_runs_its_kernel(name: str) -> None:
    stock, ours = PAIRS[name]()
    x = inputs_of(stock)
    exact = stock.double()(x.double()).detach()
    ours = ours.cuda().eval()
    for layout in (torch.contiguous_format, torch.channels_last) if x.dim() == 4 else (None,):
        given = x.cuda() if layout is None else x.cuda().to(memory_format=layout)
        with torch.no_grad():
            out = ours(given)
        assert out.is_cuda
        assert relative(out.cpu(), exact) < 2e-5
    assert not ours.fallbacks


@on_gpu
def test_a_module_trains(name: str, strict_float32: None) -> None:
    stock, ours = PAIRS[name]()
    x = inputs_of(stock)
    stock(x).square().sum().backward()
    ours = ours.cuda().train()
    ours(x.cuda()).square().sum().backward()
    expected = stock.bias.grad
    assert relative(ours.bias.grad.cpu(), expected.double()) < 1e-4


@on_gpu
def test_a_cuda_graph_captures_a_module(name: str) -> None:
    stock, ours = PAIRS[name]()
    ours, x = ours.cuda().eval(), inputs_of(stock).cuda()
    with torch.no_grad():
        expected = ours(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = ours(x)
        x.copy_(-x)
        graph.replay()
        torch.testing.assert_close(out, ours(x))
        assert not torch.equal(out, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_chunk_of_tiles_after_the_other() -> None:
    weight, x = torch.randn(192, 192, 3, 3).cuda(), torch.randn(24, 192, 64, 64).cuda()  # 6144 tiles: 340 MB
    exact = nn.functional.conv2d(x.double(), weight.double(), padding=1)
    assert relative(gk.ops.winograd_conv2d(x, weight, padding=1, tile=4), exact) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_a_network_is_planned_where_it_is(strict_float32: None, objective: str) -> None:
    layers = (nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()) * 2
    net, x = nn.Sequential(*copy.deepcopy(layers)).cuda().eval(), torch.randn(8, 64, 56, 56).cuda()
    made = gk.plan(net, x, cache=False, progress=False, objective=objective)
    assert made.about["gpu"] == torch.cuda.get_device_name()
    fast = made.apply(net)
    with torch.no_grad():
        exact = copy.deepcopy(net).double()(x.double())
        assert relative(fast(x), exact) < 1e-5
        assert torch.equal(gk.restore(fast)(x), net(x))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_left_to_torch(autocast: bool) -> None:
    dtype = torch.float32 if autocast else torch.float16
    layer = gk.nn.WinogradConv2d(8, 8, padding=1).cuda().to(dtype).eval()
    with torch.no_grad(), torch.autocast("cuda", torch.float16, enabled=autocast):
        assert layer(torch.randn(1, 8, 6, 6, device="cuda", dtype=dtype)).dtype == torch.float16
    assert layer.fallbacks == {"input.dtype=torch.float16 on CUDA": 1}


def test_what_a_kernel_on_cuda_does_not_take() -> None:
    with FakeTensorMode():
        x, weight = (torch.empty(1, 8, 6, 6, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        reason = why_stock("winograd_conv2d", x, weight)
        assert why_stock("strassen_conv2d", x.float(), weight.float()) == "input.device=cuda"
    has_kernels = torch._C._dispatch_has_kernel_for_dispatch_key("greenkernels::winograd_conv2d", "CUDA")
    assert reason == ("input.dtype=torch.bfloat16 on CUDA" if has_kernels else "input.device=cuda")


def test_the_clock_of_a_gpu_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(1))
    clock = CudaClock()
    assert clock.now() <= clock.now()
    assert len(waits) == 2


def test_which_kernels_are_planned_on_cuda() -> None:
    assert tuple(stem.name for stem in registered() if "cuda" in stem.devices) == ON_CUDA


def test_a_layer_whose_device_no_kernel_is_for_stays() -> None:
    stem = named("strassen_gemm")
    taken, reason = survey._matching(nn.Linear(4, 4, device="meta"), [stem])
    assert not taken
    assert reason == "no kernel for nn.Linear runs on meta"
