"""Problems of the modules: a stock module, what stands in for it, and float64 of the stock one on the kept weight."""

from __future__ import annotations

import random
from typing import Any

import blocks
import convolutions
import products
import quantized_convolutions
import torch
from inputs import sizes, values
from products import FLOATS, HALVES, Maker
from stock import calls_of, conv, linear
from torch import Tensor, nn
from verdicts import Bound, Problem

from greenkernels.nn import (
    CodebookLinear,
    DepthwiseConv2d,
    DirectConv2d,
    HalfLinear,
    Int4Linear,
    Int8Conv2d,
    Int8Linear,
    LinearGRU,
    LinearLSTM,
    PairedMaxPool2d,
    SparseConv2d,
    SparseLinear,
    StrassenConv2d,
    StrassenLinear,
    WinogradConv2d,
)


def strassen_linear(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kind, a, b, bias = products.operands(choose, size, dtype)
    levels = choose.randint(0, 3)
    module = StrassenLinear.from_module(linear(b, bias), levels=levels)
    return products.product(kind, calls_of(module, 1), a, b, bias, 4.0**levels if levels else 0.0)


def sparse_linear(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kind, a, b, bias = products.operands(choose, size, dtype)
    b = products.sparse(choose, b)
    module = SparseLinear.from_module(linear(b, bias), warn=False)
    return products.sparse_product(kind, calls_of(module, 1), a, b, bias)


def half_linear(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    storage = choose.choice(["float16", "bfloat16"])
    kind, a, b, bias = products.operands(choose, size, dtype, getattr(torch, storage))
    module = HalfLinear.from_module(linear(b.float(), bias), storage=storage)
    return products.product(kind, calls_of(module, 1), a, b, bias)


def _float_linear(choose: random.Random, size: str, dtype: torch.dtype) -> tuple[Tensor, nn.Linear]:
    m, n, k = sizes(choose, size, 3)
    bias = values(choose, (n,), "uniform", torch.float32) if choose.random() < 0.5 else None
    weight = values(choose, (n, k), choose.choice(["uniform", "scaled"]), torch.float32)
    return products.float_rows(choose, m, k, dtype), linear(weight, bias)


def int8_linear(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    a, stock = _float_linear(choose, size, dtype)
    module = Int8Linear.from_module(stock)
    weight = module.weight_int8, module.weight_scale, module.bias
    return Problem(a, calls_of(module, 1), lambda x: products.scaled_sums(x, *weight), like=dtype)


def _few_bit_linear(module: Any, oracle: Any, parts: tuple[Tensor, ...], a: Tensor) -> Problem:
    return products.few_bits(a, calls_of(module, 1), oracle, parts, module.group, module.bias)


def int4_linear(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    a, stock = _float_linear(choose, size, dtype)
    module = Int4Linear.from_module(stock, group=choose.choice([32, 64, 128]))
    return _few_bit_linear(module, products.int4_exact, module.weight_int4, a)


def codebook_linear(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    a, stock = _float_linear(choose, size, dtype)
    options = {"bits": choose.choice([2, 4]), "group": choose.choice([32, 64, 128])}
    n, k = stock.weight.shape
    weight = products.codebook_weights(n, k, options["group"], options["bits"], choose.getrandbits(32))
    module = CodebookLinear.from_codebook(*weight, stock.bias, **options)
    return _few_bit_linear(module, products.codebook_exact, weight, a)


def _in_place_of(maker: Maker, kind: Any, *names: str) -> Maker:
    """The problem of an op, with the module that stands in for its stock layer in the place of the op."""

    def make(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
        problem = maker(choose, size, dtype)
        about = problem.about
        if about["geometry"].get("groups") == 0:  # torch has no such layer
            return problem
        options = {name: about[name] for name in names}
        epilogue = dict(about.get("epilogue", {}))
        if "activation" in epilogue:
            options["activation"] = epilogue.pop("activation")
        module = kind.from_module(conv(about["weight"], about["bias"], about["geometry"]), **options)
        problem.calls = calls_of(module, -1)
        if epilogue:  # an addition
            problem.calls = (lambda x: module(x, **epilogue),)
        return problem

    return make


def int8_conv2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    """Filters of 3x3 also by Winograd's tiles."""
    weight, bias, geometry, x = quantized_convolutions.float_parts(choose, size, dtype)
    if weight.shape[2:] == (3, 3) and geometry["groups"] == 1 and choose.random() < 0.7:
        geometry = {"padding": tuple(max(1, p) for p in geometry["padding"])}  # no map is too small then
        module = Int8Conv2d.from_module(conv(weight, bias, geometry), tile=2)
        exact = quantized_convolutions.winograd_exact(
            module.taps, module.tap_scale, bias, geometry["padding"]
        )
    else:
        module = Int8Conv2d.from_module(conv(weight, bias, geometry))
        exact = quantized_convolutions.of_floats(module.weight_int8, module.weight_scale, bias, geometry)
    return Problem(x, calls_of(module, -1), exact, like=dtype)


def paired_max_pool2d(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    batch, channels = convolutions.channels_of(choose, size, 1)
    shape = (batch, channels, *convolutions.map_of(choose, size, [2, 2]))
    x = values(choose, shape, choose.choice(["uniform", "nonfinite"]), dtype)

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        h, w = (size // 2 * 2 for size in x.shape[2:])
        windows = x.double()[:, :, :h, :w].unfold(2, 2, 2).unfold(3, 2, 2)
        return windows.amax((4, 5)), 0.0

    return Problem(x, calls_of(PairedMaxPool2d(), -1), exact, like=dtype)


def _recurrent(choose: random.Random, size: str, dtype: torch.dtype, kinds: tuple[Any, Any]) -> Problem:
    batch, inputs, hidden = (max(1, s) for s in sizes(choose, "prime" if size == "large" else size, 3, 65))
    layers, both = choose.choice([1, 1, 2]), choose.random() < 0.3
    stock = kinds[0](inputs, hidden, layers, bidirectional=both, dtype=dtype).eval()
    for parameter in stock.parameters():
        parameter.data = values(choose, tuple(parameter.shape), "uniform", dtype) * hidden**-0.5
    module = kinds[1].from_module(stock, choose.choice(["dense", "sparse"]))
    module.eval().requires_grad_(False)
    oracle = kinds[0](inputs, hidden, layers, bidirectional=both, dtype=torch.float64).eval()
    oracle.load_state_dict({name: value.double() for name, value in stock.state_dict().items()})
    x = values(choose, (choose.choice([1, 2, 3]), batch, inputs), "uniform", dtype)

    @torch.no_grad()
    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        return oracle(x.double())[0], recurrent_bound(oracle, x, dtype)

    return Problem(x, (lambda x: module(x)[0],), exact, like=dtype)


def recurrent_bound(stock: nn.RNNBase, x: Tensor, dtype: torch.dtype) -> float:
    """The largest error of a state: what rounding adds in each step, and what gates and states pass on.

    Slopes are at most 1 (tanh) and 1/4 (sigmoid), states of an LSTM's cell at most their number of steps, others 1.
    """
    eps, time = (1 + (dtype == torch.float64)) * torch.finfo(dtype).eps, x.shape[0]
    error, most = 0.0, float(x.abs().max()) if x.numel() else 0.0
    for layer in range(stock.num_layers):
        worst = 0.0
        for end in (f"l{layer}", f"l{layer}_reverse") if stock.bidirectional else (f"l{layer}",):
            own = {
                name: getattr(stock, f"{name}_{end}").abs()
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            }
            taken, kept = (float(own[f"weight_{part}"].sum(1).max()) for part in ("ih", "hh"))
            shift = float((own["bias_ih"] + own["bias_hh"]).max())
            depth = own["weight_ih"].shape[1] + own["weight_hh"].shape[1] + 10
            rounding = depth * eps / 2 * (taken * most + kept + shift)
            state = cell = 0.0
            for step in range(1, time + 1):
                gate = rounding + taken * error + kept * state
                if isinstance(stock, nn.LSTM):
                    cell += (step / 4 + 1.25) * gate + 4 * step * eps
                    state = gate / 4 + cell + 4 * eps
                else:
                    state += gate + (kept + shift) * gate / 4 + gate / 2 + 4 * eps
            worst = max(worst, state)
        error, most = worst, 1.0
    return error


def linear_lstm(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    return _recurrent(choose, size, dtype, (nn.LSTM, LinearLSTM))


def linear_gru(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    return _recurrent(choose, size, dtype, (nn.GRU, LinearGRU))


ON_MAPS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "DirectConv2d": (_in_place_of(convolutions.direct_conv2d, DirectConv2d), FLOATS),
    "DepthwiseConv2d": (_in_place_of(convolutions.depthwise_conv2d, DepthwiseConv2d), FLOATS),
    "WinogradConv2d": (_in_place_of(convolutions.winograd_conv2d, WinogradConv2d, "tile"), FLOATS),
    "StrassenConv2d": (_in_place_of(convolutions.strassen_conv2d, StrassenConv2d, "levels"), FLOATS),
    "SparseConv2d": (_in_place_of(convolutions.csr_conv2d, SparseConv2d, "warn"), HALVES),
    "Int8Conv2d": (int8_conv2d, HALVES),
    "PairedMaxPool2d": (paired_max_pool2d, ("float32", "bfloat16")),
    "SeparableConv2d": (blocks.separable_module, ("float32",)),
    "InvertedBottleneck": (blocks.bottleneck_module, ("float32",)),
}
MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "StrassenLinear": (strassen_linear, FLOATS),
    "SparseLinear": (sparse_linear, FLOATS),
    "HalfLinear": (half_linear, HALVES),
    "Int8Linear": (int8_linear, HALVES),
    "Int4Linear": (int4_linear, HALVES),
    "CodebookLinear": (codebook_linear, HALVES),
    "LinearLSTM": (linear_lstm, ("float32", "float64")),
    "LinearGRU": (linear_gru, ("float32", "float64")),
}
