"""gk.compress.quantize, equalize, smooth and QuantizationAware: whole networks in integers of few bits."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conv_cases import needs_kernels
from rounding_bounds import EPS, bound_of_inputs, with_weights_of
from torch import nn

import greenkernels as gk
from greenkernels.compress.quantization.seen import look_at_inputs, rows_of
from greenkernels.nn import Int4Linear, Int8Conv2d, Int8Linear


def net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)).eval()


BATCHES = [torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)]


@torch.no_grad()
def error(model: nn.Module, stock: nn.Module) -> float:
    x = torch.cat(BATCHES)
    return float((model(x) - stock(x)).norm() / stock(x).norm())


@torch.no_grad()
def assert_within_rounding(made: nn.Sequential, stock: nn.Sequential) -> None:
    """That outputs are those of the rounded weights, up to what rounding inputs can do."""
    floats, x = with_weights_of(made, stock), torch.cat(BATCHES)
    assert ((made(x) - floats(x)).abs() <= bound_of_inputs(made, floats, x)).all()


@needs_kernels
def test_layers_become_those_of_integers():
    stock = net()
    before = copy.deepcopy(stock.state_dict())
    eight, four = gk.compress.quantize(stock), gk.compress.quantize(stock, 4, group=32)
    assert [type(m) for m in eight if not isinstance(m, (nn.ReLU, nn.MaxPool2d, nn.Flatten))] == [
        Int8Conv2d,
        Int8Linear,
        Int8Linear,
    ]
    assert (type(four[4]), four[4].group) == (Int4Linear, 32)
    assert int(four[0].weight_int8.abs().max()) <= 8  # 4-bit integers on the 8-bit kernel
    for made, by_groups in ((eight, 0), (four, 32)):
        for i in (0, 4, 6):
            rounded, weight = made[i].weight.detach().flatten(1), stock[i].weight.detach().flatten(1)
            group = by_groups if by_groups and i else weight.shape[1]
            error, weight = ((rounded - weight).unflatten(1, (-1, group)), weight.unflatten(1, (-1, group)))
            # The mean square of a group is at most that of the widest step, half of which no error passes; scales of
            # groups are bfloat16 numbers, 2^-8 off at most, and cut off as much of the largest.
            most = 7 if made is four else 127
            step = weight.abs().amax(2) / most
            slack = (1 + 2.0**-8) / 2 + (most * 2.0**-8 if group == 32 else 0)
            assert (error.square().mean(2).sqrt() <= step * slack * (1 + 4 * EPS)).all()
        assert_within_rounding(made, stock)
    assert all(torch.equal(value, before[name]) for name, value in stock.state_dict().items())
    some = gk.compress.quantize(stock, layers=["6"])
    assert (type(some[4]), type(some[6])) == (nn.Linear, Int8Linear)
    assert isinstance(gk.compress.quantize(nn.Linear(64, 8).eval(), 4), Int4Linear)


@needs_kernels
@pytest.mark.parametrize("bits", [4, 8])
def test_looking_at_inputs_makes_the_outputs_better(bits):
    stock = net()
    nearest = error(gk.compress.quantize(stock, bits), stock)
    second = error(gk.compress.quantize(stock, bits, batches=BATCHES, rounding="second-order"), stock)
    assert second < 0.9 * nearest


@torch.no_grad()
def test_second_order_rounding_is_never_far_from_the_best_of_all():
    """Against all 16 ways to round a weight of 4 elements up or down."""
    torch.manual_seed(1)
    x, w = torch.randn(200, 4) @ torch.randn(4, 4), torch.randn(1, 4)
    grid = gk.compress.find_grid(w, 4)
    least = torch.floor(w / grid.scale)
    ways = [least + torch.tensor([[i >> d & 1 for d in range(4)]]) for i in range(16)]
    errors = [float(((way * grid.scale - w) @ x.T).norm()) for way in ways]
    found = gk.compress.round_second_order(w, grid, (x.T @ x).double())
    nearest = float(((grid.rounded(w) - w) @ x.T).norm())
    mine = float(((grid.to_floats(found) - w) @ x.T).norm())
    assert min(errors) * (1 - 1e-5) <= mine <= nearest
    kept = torch.tensor([[True, False, True, True]])
    assert gk.compress.round_second_order(w, grid, (x.T @ x).double(), kept)[0, 1] == 0
    alone = gk.compress.round_second_order(w, grid, torch.eye(4, dtype=torch.float64))
    assert torch.equal(alone, grid.to_integers(w))  # inputs that are independent: to the nearest


@needs_kernels
def test_bias_correction_keeps_the_mean_output():
    stock = nn.Linear(64, 32).eval()
    x = torch.randn(500, 64) + 2
    plain = gk.compress.quantize(stock, 4)
    corrected = gk.compress.quantize(stock, 4, batches=[x], correct_bias=True)
    with torch.no_grad():
        off = [(model(x) - stock(x)).mean(0).abs().max() for model in (plain, corrected)]
    assert off[1] < 0.1 * off[0]


@needs_kernels
@pytest.mark.parametrize("inputs", ["largest", "percentile", "squares", "entropy"])
def test_inputs_on_a_fixed_grid(inputs):
    stock = net()
    made = gk.compress.quantize(stock, batches=BATCHES, inputs=inputs)
    assert made[4].input_scale is not None
    assert_within_rounding(made, stock)


def test_the_largest_inputs_are_those_of_all_calls():
    layer = nn.Linear(8192, 1).eval()  # of a call of which not all values are kept
    batches = [torch.zeros(1, 8192) for _ in range(40)]
    batches[30][0, 4097], batches[20][0, 3] = 7.0, -5.0
    made = gk.compress.quantize(nn.Sequential(layer), batches=batches, inputs="largest")
    assert float(made[0].input_scale) == pytest.approx(12 / 255)


@pytest.mark.parametrize("inputs", ["percentile", "squares"])
def test_the_ends_of_inputs_are_not_those_of_one_corner_of_the_maps(inputs):
    layer = nn.Conv2d(32, 4, 3).eval()
    maps = torch.randn(128, 32, 7, 7, generator=torch.Generator().manual_seed(0))
    maps[:, :, 0, 0] *= 0.1  # every 49th value, and 4096 times 49 are all
    made = gk.compress.quantize(nn.Sequential(layer), batches=[maps], inputs=inputs)
    # The corners alone end at 0.5; of normal values the outermost 1e-4 begin at 3.7.
    assert float(made[0].input_scale) > 2 * 2.5 / 255


def test_inputs_of_layers_are_the_rows_that_weights_multiply():
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    x = torch.randn(4, 2, 9, 7)
    rows = rows_of(layer, x)
    out = (rows @ layer.weight.detach().flatten(1).T + layer.bias.detach()).reshape(4, -1, 3).transpose(1, 2)
    expected = layer(x).detach().flatten(2)
    assert ((out - expected).abs() <= 40 * EPS * (1 + expected.abs())).all()
    seen = look_at_inputs(layer, {"": layer}, [x, x], gram=True)[""]
    assert seen.rows == 2 * len(rows)
    assert torch.allclose(seen.gram, 2 * (rows.T @ rows).double())
    assert torch.allclose(seen.mean, rows.mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 3}, "bits must be 4 or 8, got 3"),
        ({"rounding": "up"}, "rounding must be one of nearest, second-order, got 'up'"),
        ({"inputs": "static"}, "inputs must be 'dynamic' or one of largest"),
        ({"correct_bias": True}, "batches must be given for this, got None"),
        ({"correct_bias": True, "batches": []}, "batches must hold at least one batch for this, got none"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        gk.compress.quantize(net(), **changes)
    bad = net()
    bad[4].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="quantize: 4: weight must be finite"):
        gk.compress.quantize(bad)


@torch.no_grad()
def test_equalize_computes_the_same_and_evens_ranges_out():
    stock = net()
    stock[0].weight[3] *= 100
    stock[4].weight[5] *= 30
    made = gk.compress.equalize(stock)
    assert error(made, stock) < 20 * EPS * 100
    given = made[4].weight.abs().amax(1)
    taken = made[6].weight.abs().amax(0)
    assert torch.allclose(given, taken, rtol=1e-3)
    spread = [m[0].weight.flatten(1).abs().amax(1) for m in (stock, made)]
    assert spread[1].max() / spread[1].min() < 0.1 * spread[0].max() / spread[0].min()


@torch.no_grad()
def test_smooth_computes_the_same_and_moves_outliers_into_weights():
    stock = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 8)).eval()
    stock[0].weight[3] = 60.0
    x = [torch.randn(50, 16)]
    made = gk.compress.smooth(stock, [("0", ["1"])], x)
    assert torch.allclose(made(x[0]), stock(x[0]), rtol=1e-4, atol=1e-4)
    largest = [m[0](x[0]).abs().amax(0) for m in (stock, made)]
    assert largest[1].max() / largest[1].median() < 0.5 * largest[0].max() / largest[0].median()
    with pytest.raises(ValueError, match="'1' must be a Linear of 8 inputs, got Linear"):
        gk.compress.smooth(stock, [("1", ["1"])], x)


@needs_kernels
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("learns", [True, False])
def test_a_network_trained_with_rounding_is_the_one_in_integers(bits, learns):
    stock = net()
    aware = gk.compress.QuantizationAware(stock, bits, group=32, learns_steps=learns)
    optimizer = torch.optim.Adam([p for p in aware.parameters() if p.requires_grad], 1e-4)
    before = error(aware, stock)
    for _ in range(5):
        for x in BATCHES:
            loss = (aware(x) - stock(x).detach()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert error(aware, stock) < before or bits == 8  # where there is nothing left to gain
    done = aware.finished()
    assert isinstance(done[4], Int4Linear if bits == 4 else Int8Linear)
    # The same integers; sums in another order, and an input at the middle of two steps may fall to the other side.
    assert error(done, aware) < 1e-3


def test_learned_steps_have_the_gradients_of_the_paper():
    aware = gk.compress.QuantizationAware(nn.Linear(4, 1, bias=False), 8, rounds_inputs=False)
    weight = aware.model.parametrizations.weight
    with torch.no_grad():
        weight[0].found.fill_(0.5)
        weight.original.copy_(torch.tensor([[0.3, 0.6, 100.0, -100.0]]))
    aware(torch.ones(1, 4)).sum().backward()
    # Inside: q - w / s; outside: the end; all slowed by sqrt(weights * largest integer).
    expected = 0.5 * ((1 - 0.6) + (1 - 1.2) + 127 - 127)  # the ends of layers of 8 bits
    assert weight[0].relative.grad.item() == pytest.approx(expected / (4 * 127) ** 0.5, rel=1e-5)
    assert weight.original.grad.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_zeros_stay_and_masks_are_refused():
    model = net()
    gk.compress.prune(model, 0.5)
    with pytest.raises(ValueError, match="must have no mask; call apply_masks before"):
        gk.compress.QuantizationAware(model)
    gk.compress.apply_masks(model)
    zero = model[4].weight == 0
    aware = gk.compress.QuantizationAware(model)
    optimizer = torch.optim.SGD(aware.parameters(), 0.1)
    F.mse_loss(aware(BATCHES[0]), torch.ones(16, 10)).backward()
    optimizer.step()
    assert (aware.finished()[4].weight[zero] == 0).all()
    with pytest.raises(ValueError, match="bits must be 4 or 8, got 5"):
        gk.compress.QuantizationAware(net(), 5)
