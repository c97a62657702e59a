"""Counts of single torch operations, as they run."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from greenkernels.energy import Counts, count
from greenkernels.energy.ops import Op, op_rules
from greenkernels.energy.tally import CountOperations, Tally

F32 = 4  # bytes


def tally_of(function, *args: Tensor) -> Tally:
    tally = Tally()
    with CountOperations(tally.add):
        function(*args)
    return tally


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (torch.matmul, [(3, 4, 5), (3, 5, 6)]),
        (torch.matmul, [(4, 5), (5, 6)]),
        (lambda x, w: F.conv2d(x, w, padding=1), [(2, 3, 8, 8), (4, 3, 3, 3)]),
        (lambda x, w: F.conv_transpose2d(x, w), [(2, 3, 8, 8), (3, 4, 3, 3)]),
        (F.linear, [(2, 3, 8), (4, 8)]),
    ],
)
def test_products_equal_the_flop_counter_of_torch(function, shapes, inference: bool) -> None:
    inputs = [torch.randn(shape) for shape in shapes]
    with torch.inference_mode(inference), FlopCounterMode(display=False) as counter:
        function(*inputs)
    with torch.inference_mode(inference):
        tally = tally_of(function, *inputs)
    assert not tally.uncounted
    assert tally.total.flops == counter.get_total_flops()


# Operations of one element-wise call on 6 elements, and bytes: two inputs or one, one output.
@pytest.mark.parametrize(
    ("function", "flops", "inputs"),
    [
        (lambda x, y: x + y, 6, 2),
        (lambda x, y: torch.add(x, y, alpha=2), 12, 2),
        (lambda x, y: x * x, 6, 1),
        (lambda x, y: x.relu(), 6, 1),
        (lambda x, y: F.gelu(x), 30, 1),
        (lambda x, y: x.clamp(0, 1), 12, 1),
        (lambda x, y: x.clamp(min=0), 6, 1),
        (lambda x, y: x.softmax(-1), 30, 1),
        (lambda x, y: torch.cat([x]), 0, 1),
    ],
)
def test_element_wise(function, flops: int, inputs: int) -> None:
    total = tally_of(function, torch.randn(2, 3), torch.randn(2, 3)).total
    assert total == Counts(flops, inputs * 6 * F32, 6 * F32, 0)


def test_in_place_reads_and_writes() -> None:
    assert tally_of(lambda x: x.relu_(), torch.randn(6)).total == Counts(6, 6 * F32, 6 * F32, 0)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.view(6),
        lambda x: x.t(),
        lambda x: x[0],
        lambda x: x.expand(4, 2, 3),
        Tensor.detach,
        lambda x: x.unsqueeze_(0),
        lambda x: x.as_strided_((3, 2), (1, 3)),  # torch's convolution in inference mode
    ],
)
def test_a_view_is_exactly_nothing(view) -> None:
    total = tally_of(view, torch.randn(2, 3)).total
    assert (total.flops, total.bytes) == (0, 0)


def test_an_expanded_tensor_takes_no_more_memory() -> None:
    row = torch.randn(1, 8).expand(100, 8)
    assert tally_of(lambda x: x.relu(), row).total.bytes_read == 8 * F32


def test_sums_reduce_their_input() -> None:
    x = torch.randn(4, 5)
    assert tally_of(lambda x: x.sum(), x).total.flops == 20
    assert tally_of(lambda x: x.mean(0), x).total.flops == 25
    assert tally_of(lambda x: x.amax(1), x).total.flops == 20
    assert tally_of(lambda x: torch.max(x, x + 1), x).total.flops == 40


# Where both exist, a layer's rule and those of the operations inside count the same operations.
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(8, 5), (3, 8)),
        (nn.Conv2d(3, 4, 3), (2, 3, 9, 9)),
        (nn.ConvTranspose2d(3, 4, 3), (2, 3, 9, 9)),
        (nn.BatchNorm2d(3), (2, 3, 5, 5)),
        (nn.LayerNorm(8), (2, 8)),
        (nn.GroupNorm(2, 4), (2, 4, 6)),
        (nn.MaxPool2d(3, 2), (1, 2, 9, 9)),
        (nn.AvgPool2d(2), (1, 2, 8, 8)),
        (nn.AdaptiveAvgPool2d(3), (1, 2, 8, 7)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 4, 4)),
        (nn.Upsample(scale_factor=2), (1, 2, 4, 4)),
        (nn.PReLU(), (2, 3)),
        (nn.Hardswish(), (2, 3)),
        (nn.ReLU6(), (2, 3)),
        (nn.LSTM(4, 6), (5, 2, 4)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).self_attn, (2, 5, 8)),
    ],
)
def test_layers_and_their_operations_agree(layer: nn.Module, shape: tuple[int, ...]) -> None:
    layer, x = layer.eval(), torch.randn(shape)
    with torch.no_grad():
        tally = tally_of(lambda: layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else layer(x))
    assert not tally.uncounted
    assert tally.total.flops == count(layer, shape).counts.flops


def test_the_fast_path_of_an_encoder_layer_counts_its_parts() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        tally = tally_of(layer, x)
    parts = [
        (layer.self_attn, (2, 5, 8)),
        (layer.linear1, (2, 5, 8)),
        (nn.ReLU(), (2, 5, 16)),
        (layer.linear2, (2, 5, 16)),
        (layer.norm1, (2, 5, 8)),
        (layer.norm2, (2, 5, 8)),
    ]
    assert tally.total.flops == sum(count(*part).counts.flops for part in parts) + 2 * 80  # and two sums


def test_batch_statistics_count_as_the_layer_in_training() -> None:
    layer, x = nn.BatchNorm2d(3).train(), torch.randn(2, 3, 5, 5)
    tally = Tally()
    with torch.no_grad(), CountOperations(tally.add):
        torch.native_batch_norm(
            x, layer.weight, layer.bias, layer.running_mean, layer.running_var, True, 0.1, 1e-5
        )
    assert tally.total.flops == count(layer, x.shape).counts.flops


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (torch.fft.fft, "aten::_fft_c2c|aten::_fft_r2c: no counting rule"),
        (lambda x: F.dropout(x, 0.5, True), "aten::bernoulli_: no counting rule"),
        (lambda x: x.to_sparse() * 2, "no counting rule"),
        (torch.bernoulli, "aten::bernoulli: no counting rule"),
    ],
)
def test_what_is_unknown_is_listed_and_not_nothing(function, reason: str) -> None:
    tally = tally_of(function, torch.rand(4, 4))
    assert any(re.search(reason, text) for text in tally.uncounted)
    _, missing = tally.joules()
    assert missing


def test_a_rule_that_fails_does_not_break_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(op: Op) -> int:
        raise KeyError("no such argument")

    monkeypatch.setitem(op_rules(), "aten::relu", fails)
    tally = tally_of(torch.relu, torch.randn(3))
    (reason,) = tally.uncounted
    assert "its counting rule fails on this call: KeyError('no such argument')" in reason


def test_types_are_kept_apart() -> None:
    def both() -> None:
        torch.ones(4) + 1
        torch.ones(4, dtype=torch.int32) + 1

    tally = tally_of(both)
    assert {name: counts.flops for name, counts in tally.work.items()} == {"float32": 4, "int32": 4}


def test_compiled_functions_are_counted_as_if_they_were_not() -> None:
    compiled = torch.compile(lambda x: (x @ x).relu(), backend="eager")
    x = torch.randn(4, 4)
    compiled(x)
    assert tally_of(compiled, x).total.flops == 2 * 64 + 16
