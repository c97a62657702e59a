"""Modules that have no kernel of their own to be measured with: each against the stock module that it stands in for.

The other modules are contenders in the suites of their kernels. `greenkernels bench modules` runs the cases in turns
and writes rows; pytest runs each contender by itself (`pytest bench --benchmark-enable`), or, without that, small ones.
"""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from greenkernels.measure.rotation import relative_error
from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.nn import (
    FoldedConv2d,
    InvertedBottleneck,
    LinearGRU,
    LinearLSTM,
    PairedMaxPool2d,
    SparseLinear,
    StrassenLinear,
)

EPS = torch.finfo(torch.float32).eps
LAST = torch.channels_last
# Of 8 bits, relative: rows and weights are off by up to half a step of 1/127 of their largest value, about 1 % of
# their size each; gates of a recurrent layer see both.
INT8_ERROR = 0.05

Made = tuple[nn.Module, dict[str, nn.Module], Tensor, float]  # stock, ours, an input, what it may be off by


def filled(module: nn.Module) -> nn.Module:
    """Weights of the scale that trained layers have, and statistics that keep the size of maps."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                part.weight.normal_(0, (2 / part.weight[0].numel()) ** 0.5, generator=generator)
            if isinstance(part, nn.BatchNorm2d):
                part.running_var.uniform_(0.5, 1.5, generator=generator)
                part.running_mean.normal_(0, 0.1, generator=generator)
    return module.eval()


def maps(*shape: int) -> Tensor:
    x = torch.randn(
        *shape, generator=torch.Generator().manual_seed(1)
    ).relu_()  # activations are mostly rectified
    return x.contiguous(memory_format=LAST)


def folded(in_c: int, out_c: int, size: int, stride: int = 1) -> Made:
    conv = nn.Conv2d(in_c, out_c, 3, stride, 1, bias=False)
    stock = filled(nn.Sequential(conv, nn.BatchNorm2d(out_c), nn.ReLU())).to(memory_format=LAST)
    module = FoldedConv2d.from_module(copy.deepcopy(stock[0]), activation="relu").eval()
    module.follow(copy.deepcopy(stock[1]))
    return stock, {"FoldedConv2d": module}, maps(1, in_c, size, size), 4 * EPS * (9 * in_c) ** 0.5


def bottleneck(in_c: int, hidden: int, out_c: int, size: int) -> Made:
    first, middle = nn.Conv2d(in_c, hidden, 1), nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)
    stock = filled(nn.Sequential(first, nn.ReLU6(), middle, nn.ReLU6(), nn.Conv2d(hidden, out_c, 1)))
    stock = stock.to(memory_format=LAST)
    ours = {"InvertedBottleneck": InvertedBottleneck.from_modules(*copy.deepcopy(stock)).eval()}
    return stock, ours, maps(1, in_c, size, size), 12 * EPS * hidden**0.5


def recurrent(kind: type[nn.RNNBase], inputs: int, size: int, steps: int, batch: int) -> Made:
    torch.manual_seed(0)
    stock, made = kind(inputs, size).eval(), LinearLSTM if kind is nn.LSTM else LinearGRU
    ours = {
        f"{made.__name__} {linear}": made.from_module(copy.deepcopy(stock), linear).eval()
        for linear in ("dense", "int8")
    }
    x = torch.randn(steps, batch, inputs, generator=torch.Generator().manual_seed(1))
    return stock, ours, x, 8 * EPS * (steps * (inputs + size)) ** 0.5


def pool(channels: int, size: int) -> Made:
    stock = nn.MaxPool2d(2)
    return (
        stock,
        {"PairedMaxPool2d": PairedMaxPool2d.from_module(stock).eval()},
        maps(1, channels, size, size),
        0.0,
    )


def linear(rows: int, in_features: int, out_features: int, zeros: float = 0.0) -> Made:
    stock = filled(nn.Linear(in_features, out_features))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        stock.weight[torch.rand(stock.weight.shape, generator=generator) < zeros] = 0
    ours = {"StrassenLinear": StrassenLinear.from_module(copy.deepcopy(stock)).eval()}
    if zeros:
        ours["SparseLinear"] = SparseLinear.from_module(copy.deepcopy(stock), batch=rows, warn=False).eval()
    return stock, ours, torch.randn(rows, in_features, generator=generator), 8 * EPS * in_features**0.5


def output_of(module: nn.Module, *arguments: Tensor) -> Tensor:
    """Of a recurrent layer the outputs without the last states."""
    output = module(*arguments)
    return output[0] if isinstance(output, tuple) else output


def prepare(make: Callable[[], Made]) -> Trial:
    stock, ours, x, tolerance = make()
    exact = copy.deepcopy(stock).double()
    contenders = [Contender("torch", partial(output_of, stock), keep=True, version=torch.__version__)]
    for name, module in ours.items():
        bound = INT8_ERROR if name.endswith("int8") else None
        contenders.append(Contender(name, partial(output_of, module), tolerance=bound))
    return Trial(
        contenders=contenders,
        arguments=(x,),
        reference=lambda inputs: output_of(exact, inputs.double()),
        tolerance=tolerance,
        ours=frozenset(ours),
        extra={"shape": list(x.shape)},
    )


MADE = {
    "tiny folded 5-7 9x9": partial(folded, 5, 7, 9),
    "folded 3x3 stride 2 64-128 56x56": partial(folded, 64, 128, 56, 2),
    "folded 3x3 512-512 7x7": partial(folded, 512, 512, 7),
    "tiny bottleneck 5-20-7 9x9": partial(bottleneck, 5, 20, 7, 9),
    "mobilenetv2 bottleneck 32-192-64 28x28": partial(bottleneck, 32, 192, 64, 28),
    "tiny lstm 7-5": partial(recurrent, nn.LSTM, 7, 5, 3, 2),
    "lstm 512-512 20 steps": partial(recurrent, nn.LSTM, 512, 512, 20, 1),
    "tiny gru 7-5": partial(recurrent, nn.GRU, 7, 5, 3, 2),
    "gru 512-512 20 steps": partial(recurrent, nn.GRU, 512, 512, 20, 1),
    "tiny pool 5 9x9": partial(pool, 5, 9),
    "vgg16 pool 64 224x224": partial(pool, 64, 224),
    "tiny linear 3x70-33 80% zeros": partial(linear, 3, 70, 33, 0.8),
    "bert linear 128x768-3072": partial(linear, 128, 768, 3072),
    "bert linear 128x768-3072 95% zeros": partial(linear, 128, 768, 3072, 0.95),
}
CASES = [Case(name, partial(prepare, make), quick=name.startswith("tiny")) for name, make in MADE.items()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("number", range(3))
def test_speed(benchmark, case, number):
    if benchmark.disabled and not case.quick:
        pytest.skip("a full case; use --benchmark-enable")
    trial = case.prepare()
    if number >= len(trial.contenders):
        pytest.skip("no such contender")
    chosen = trial.contenders[number]
    benchmark.group = f"{case.name}: {chosen.name}"
    with torch.inference_mode():
        output = benchmark(chosen.call, *trial.arguments)
        bound = trial.tolerance if chosen.tolerance is None else chosen.tolerance
        assert relative_error(output, trial.reference(*trial.arguments)) <= bound
