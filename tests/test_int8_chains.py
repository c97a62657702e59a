"""Int8Linear and Int8Conv2d that hand 8-bit integers to each other, and what they fold and defer for that."""

import copy

import pytest
import torch
from conv_cases import COMPILE_BACKEND, FORMATS, make, needs_kernels
from torch import nn

from greenkernels.energy import count
from greenkernels.nn import Int8Conv2d, Int8Linear

RANGE = (-0.2, 3.0)


def linear_pair(**options):
    torch.manual_seed(0)
    first, second = nn.Linear(70, 90), nn.Linear(90, 33)
    giver = Int8Linear.from_module(first, activation="gelu", output_range=RANGE, **options)
    return giver, Int8Linear.from_module(second, input_range=RANGE, **options), torch.randn(9, 70)


def conv_pair(**options):
    torch.manual_seed(0)
    first, second = nn.Conv2d(6, 40, 3, padding=1), nn.Conv2d(40, 35, 3, padding=1, stride=2)
    giver = Int8Conv2d.from_module(first, activation="relu", output_range=RANGE, **options)
    return giver, Int8Conv2d.from_module(second, input_range=RANGE, **options), make((2, 6, 9, 10))


PAIRS = pytest.mark.parametrize("pair", [linear_pair, conv_pair])


def as_float(giver):
    """The same layer with a float output."""
    twin = copy.deepcopy(giver)
    twin.out_scale = None
    return twin


@needs_kernels
@PAIRS
def test_integers_between_are_those_that_the_reader_would_make(pair):
    giver, reader, x = pair()
    with torch.inference_mode():
        between = giver(x)
        assert between.dtype == torch.uint8
        assert torch.equal(reader(between), reader(as_float(giver)(x)))
        values, real = giver.output_values(between), as_float(giver)(x)
        inside = (real >= RANGE[0]) & (real <= RANGE[1])
        # Half a step of rounding; the zero point is rounded too, so that the ends of the range move by half a step.
        assert ((values - real).abs() <= giver.out_scale * 0.5001)[inside].float().mean() > 0.99
        assert ((values - real).abs() <= giver.out_scale * 1.0001)[inside].all()
        assert torch.equal(values, reader.input_values(between))


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_maps_between_have_channels_innermost(memory_format):
    giver, reader, x = conv_pair()
    with torch.inference_mode():
        between = giver(x.contiguous(memory_format=memory_format))
        assert between.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(reader(between), reader(between.contiguous()))
        assert torch.equal(reader(between[0]), reader(between)[0])


@PAIRS
def test_state_dicts_and_copies_keep_the_output(pair):
    giver, _, x = pair()
    plain = copy.deepcopy(giver)
    plain.out_scale, plain.out_zero_point = None, 0
    plain.load_state_dict(giver.state_dict())
    assert (plain.out_scale, plain.out_zero_point) == (giver.out_scale, giver.out_zero_point)
    with torch.inference_mode():
        assert torch.equal(plain(x), giver(x))
    assert "output=uint8" in repr(giver)


@PAIRS
def test_what_falls_back_goes_on_in_float(pair):
    giver, reader, x = pair()
    out = reader(giver(x.requires_grad_()))
    assert giver.fallbacks == reader.fallbacks == {"input.requires_grad=True": 1}
    out.sum().backward()
    assert x.grad.abs().sum() > 0


@PAIRS
def test_a_reader_that_falls_back_takes_integers_too(pair, monkeypatch):
    giver, reader, x = pair()
    q = torch.randint(0, 256, giver(x).shape, dtype=torch.uint8)
    expected = reader.input_values(q)
    monkeypatch.setattr("greenkernels.ops._library.DISABLED", True)
    with torch.inference_mode():
        assert torch.equal(reader(q), reader(expected))
    assert reader.fallbacks == {"GREENKERNELS_DISABLE=1": 2}


def test_integers_need_a_static_input():
    with torch.inference_mode():
        dynamic = Int8Linear.from_module(nn.Linear(8, 8), strict=True)
        with pytest.raises(RuntimeError, match=r"input.dtype=torch.uint8"):
            dynamic(torch.zeros(2, 8, dtype=torch.uint8))


@PAIRS
def test_a_range_must_be_finite(pair):
    kind = type(pair()[0])
    stock = nn.Linear(4, 4) if kind is Int8Linear else nn.Conv2d(4, 4, 1)
    with pytest.raises(ValueError, match="output_range must be two finite numbers"):
        kind.from_module(stock, output_range=(1.0, -1.0))


@needs_kernels
@pytest.mark.parametrize("options", [{"padding_mode": "reflect"}, {"padding": "same", "kernel_size": 4}])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_padding_that_the_kernel_lacks_is_made_of_values(options):
    stock = nn.Conv2d(5, 7, **({"kernel_size": 3, "padding": 1} | options))
    reader = Int8Conv2d.from_module(stock, input_range=(-1, 3))
    q = torch.randint(0, 256, (2, 5, 8, 9), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(reader(q), reader(reader.input_values(q)))


@PAIRS
def test_deferred_calls_are_bare_and_float(pair):
    giver, _, x = pair()
    fused = giver(x)
    giver.follow(deferred=True)
    with torch.inference_mode():
        bare = giver(x)
        assert bare.dtype == torch.float32
        assert bare.min() < -0.1  # no activation
        assert torch.equal(giver(x, fused=True), fused)
        assert torch.equal(giver(x, fused=False), bare)
    with pytest.raises(ValueError, match="norm must be"):
        giver.follow(nn.LayerNorm(8))


def settled_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight, -1, 1)
    nn.init.normal_(norm.bias)
    return norm


def test_folds_a_batch_norm_and_again_when_it_changes():
    torch.manual_seed(0)
    stock, norm, x = nn.Conv2d(6, 34, 3).eval(), settled_norm(34), make((2, 6, 9, 9))
    module, skip = Int8Conv2d.from_module(stock, activation="relu"), make((2, 34, 7, 7), 5)
    bare = Int8Conv2d.from_module(stock)
    module.follow(norm)

    def check():
        expected = (norm(bare(x)) + 0.5 * skip).relu()
        # Scales and shifts are rounded once more, each by half an EPS of terms that are below 20 here.
        torch.testing.assert_close(module(x, skip, 0.5), expected, rtol=1e-5, atol=20 * 2**-23)

    with torch.no_grad():
        check()
        norm.running_var.mul_(2)
        check()
        norm.bias.add_(1)
        check()
        module.load_state_dict(Int8Conv2d.from_module(nn.Conv2d(6, 34, 3)).state_dict())
        bare.load_state_dict(module.state_dict())
        check()
        twin = copy.deepcopy(module)
        assert torch.equal(twin(x), module(x))
        norm.train()
        before = norm.running_mean.clone()
        module(x)
        assert not torch.equal(before, norm.running_mean)  # ran as it is


@PAIRS
def test_compiles_with_integers_between(pair):
    giver, reader, x = pair()
    chain = nn.Sequential(giver, reader)
    if pair is conv_pair:
        giver.follow(settled_norm(40))
    compiled = torch.compile(chain, backend=COMPILE_BACKEND, fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), chain(x))


@PAIRS
def test_counts_the_bytes_that_are_written(pair):
    giver, _, x = pair()
    less = count(as_float(giver), x.shape).counts.bytes_written - count(giver, x.shape).counts.bytes_written
    assert less == 3 * giver(x).numel()
