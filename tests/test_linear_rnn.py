"""LinearLSTM and LinearGRU against torch's modules in float64; their int8 and sparse forms against their weights."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

import greenkernels as gk
from greenkernels.nn import Int8Linear, LinearGRU, LinearLSTM, SparseLinear, StrassenLinear

KINDS = [(nn.LSTM, LinearLSTM), (nn.GRU, LinearGRU)]
OPTIONS = [
    {},
    {"bias": False},
    {"batch_first": True},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.5},
]
# Each step adds roundings of a product of some tens of terms to states below 1; ten steps feed them back. In float64,
# where eps is 2e-16, that is some 1e-14; wrong gates, orders or states are off by 1e-2.
CLOSE = {"atol": 1e-12, "rtol": 1e-12}


def plain(stock: nn.Linear) -> nn.Linear:
    """Torch's own layer: what is tested is all that is around it."""
    return stock


def stock_of(kind, options, dtype=torch.double):
    return kind(7, 5, dtype=dtype, **options).eval()


@pytest.mark.parametrize(("kind", "ours"), KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("time", "batch"), [(1, 1), (10, 3)])
@torch.no_grad()
def test_computes_what_torch_computes(kind, ours, options, time, batch):
    stock = stock_of(kind, options)
    made = ours.from_module(stock, plain)
    x = torch.randn(time, batch, 7, dtype=torch.double)
    x = x.transpose(0, 1) if options.get("batch_first") else x
    want, last = stock(x)
    got, state = made(x)
    torch.testing.assert_close(got, want, **CLOSE)
    torch.testing.assert_close(state, last, **CLOSE)
    torch.testing.assert_close(made(x, last), stock(x, last), **CLOSE)


@pytest.mark.parametrize(("kind", "ours"), KINDS)
@torch.no_grad()
def test_sequences_without_batch(kind, ours):
    stock = stock_of(kind, {"num_layers": 2, "bidirectional": True})
    made, x = ours.from_module(stock, plain), torch.randn(6, 7, dtype=torch.double)
    want = stock(x)
    torch.testing.assert_close(made(x), want, **CLOSE)
    torch.testing.assert_close(made(x, want[1]), stock(x, want[1]), **CLOSE)


@pytest.mark.parametrize(("kind", "ours"), KINDS)
@pytest.mark.parametrize("sort", [True, False])
@torch.no_grad()
def test_sequences_of_different_lengths(kind, ours, sort):
    stock = stock_of(kind, {"num_layers": 2, "bidirectional": True})
    made = ours.from_module(stock, plain)
    lengths = [6, 4, 4, 1] if sort else [4, 6, 1, 4]
    packed = pack_sequence([torch.randn(n, 7, dtype=torch.double) for n in lengths], enforce_sorted=sort)
    want, last = stock(packed)
    got, state = made(packed)
    torch.testing.assert_close(pad_packed_sequence(got), pad_packed_sequence(want), **CLOSE)
    torch.testing.assert_close(state, last, **CLOSE)
    again, state = made(packed, last)
    want, last = stock(packed, last)
    torch.testing.assert_close(pad_packed_sequence(again), pad_packed_sequence(want), **CLOSE)
    torch.testing.assert_close(state, last, **CLOSE)


@torch.no_grad()
def test_a_packed_batch_equals_each_sequence_alone():
    made = LinearLSTM.from_module(stock_of(nn.LSTM, {"bidirectional": True}), plain)
    x = torch.randn(3, 8, 7, dtype=torch.double)
    lengths = [8, 5, 2]
    padded, _ = pad_packed_sequence(
        made(pack_padded_sequence(x, lengths, batch_first=True))[0], batch_first=True
    )
    for row, n in enumerate(lengths):
        torch.testing.assert_close(padded[row, :n], made(x[row, :n])[0], **CLOSE)


@torch.no_grad()
def test_projections_of_an_lstm():
    stock = stock_of(nn.LSTM, {"proj_size": 3, "num_layers": 2, "bidirectional": True})
    made, x = LinearLSTM.from_module(stock, plain), torch.randn(4, 2, 7, dtype=torch.double)
    torch.testing.assert_close(made(x), stock(x), **CLOSE)


@pytest.mark.parametrize(("kind", "ours"), KINDS)
def test_gradients_are_those_of_torch(kind, ours):
    stock = stock_of(kind, {"num_layers": 2, "bidirectional": True}).train()
    made = ours.from_module(stock, plain)
    x = torch.randn(5, 2, 7, dtype=torch.double)
    grads = []
    for module in (stock, made):
        own = x.clone().requires_grad_()
        module(own)[0].square().sum().backward()
        grads.append(own.grad)
    torch.testing.assert_close(grads[1], grads[0], **CLOSE)
    torch.testing.assert_close(made.cells[1].state.weight.grad, stock.weight_hh_l0_reverse.grad, **CLOSE)
    torch.testing.assert_close(made.cells[2].inputs.bias.grad, stock.bias_ih_l1.grad, **CLOSE)


def test_dropout_falls_between_layers_in_training_alone():
    stock = nn.LSTM(4, 6, 2, dropout=1.0)
    made, x = LinearLSTM.from_module(stock, plain), torch.randn(3, 2, 4)
    assert made.training
    torch.testing.assert_close(made(x)[0], stock(x)[0])  # the second layer sees zeros
    torch.testing.assert_close(made.eval()(x)[0], stock.eval()(x)[0])


@pytest.mark.parametrize(("kind", "ours"), KINDS)
@pytest.mark.parametrize("linear", ["dense", "int8", "sparse"])
@torch.no_grad()
def test_runs_on_our_layers_and_goes_back(kind, ours, linear):
    stock = kind(33, 20, 2, bidirectional=True).eval()
    for name, parameter in stock.named_parameters():
        if name.startswith("weight"):
            parameter[torch.rand_like(parameter) < 0.8] = 0
    made, x = ours.from_module(stock, linear), torch.randn(9, 4, 33)
    layer = {"dense": StrassenLinear, "int8": Int8Linear, "sparse": SparseLinear}[linear]
    assert all(type(cell.inputs) is layer and type(cell.state) is layer for cell in made.cells)
    back = made.to_module()
    assert type(back) is kind
    want = (
        stock if linear != "int8" else back
    )  # int8: up to the rounding of inputs, 1/254 of a row's largest value
    torch.testing.assert_close(
        made(x)[0], want(x)[0], **({"atol": 0.05, "rtol": 0} if linear == "int8" else {})
    )
    if linear != "int8":
        for name, value in stock.state_dict().items():
            assert torch.equal(back.state_dict()[name], value), name


@torch.no_grad()
def test_weights_are_packed_once(monkeypatch):
    made = LinearGRU.from_module(nn.GRU(16, 16).eval())
    x = torch.randn(5, 2, 16)
    made(x)
    packs = []
    monkeypatch.setattr(StrassenLinear, "repack", lambda self: packs.append(self))
    want = made(x)
    assert not packs
    torch.testing.assert_close(made(x), want)


def test_masks_of_pruning_count():
    stock = nn.LSTM(12, 10)
    torch_prune.l1_unstructured(stock, "weight_hh_l0", 0.9)
    made = LinearLSTM.from_module(stock, "sparse")
    assert made.cells[0].state.values.numel() == 40
    torch.testing.assert_close(made(torch.ones(3, 1, 12))[0], stock(torch.ones(3, 1, 12))[0])


@torch.no_grad()
def test_is_copied_pickled_saved_and_printed():
    stock = nn.LSTM(6, 8, 2, batch_first=True).eval()
    made, x = LinearLSTM.from_module(stock), torch.randn(2, 3, 6)
    want = made(x)[0]
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert torch.equal(other(x)[0], want)
    other = LinearLSTM.from_module(nn.LSTM(6, 8, 2, batch_first=True).eval())
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(x)[0], want)
    assert (made.hidden_size, made.batch_first) == (8, True)
    assert "input_size=6, hidden_size=8, num_layers=2" in repr(made)


@torch.no_grad()
def test_its_energy_can_be_modelled():
    made = LinearLSTM.from_module(nn.LSTM(6, 8).eval())
    found = gk.energy.estimate(made, torch.randn(4, 2, 6))
    products = 2 * 4 * 2 * 32 * (6 + 8)  # two weights at four steps of two rows
    assert found.tally().total.flops >= products
    assert not found.missing


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: LinearLSTM.from_module(nn.GRU(3, 4)),
            "type must be torch.nn.modules.rnn.LSTM, got type=GRU",
        ),
        (lambda: LinearGRU.from_module(nn.Linear(3, 4)), "got type=Linear"),
        (lambda: LinearGRU.from_module(nn.GRU(3, 4), "int4"), "linear must be one of dense, int8, sparse"),
    ],
)
def test_refuses_what_it_cannot_replace(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_refuses_inputs_of_other_ranks():
    with pytest.raises(RuntimeError, match="LinearLSTM: input must have 2 or 3 dimensions, got 1"):
        LinearLSTM.from_module(nn.LSTM(3, 4))(torch.randn(3))
