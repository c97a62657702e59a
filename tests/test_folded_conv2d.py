"""What follows a convolution inside of its module: batch norm, addition and activation, on every kernel."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from greenkernels.nn import DepthwiseConv2d, DirectConv2d, FoldedConv2d, Int8Conv2d, WinogradConv2d
from greenkernels.nn.folding import folded
from greenkernels.ops import activation as activations

KINDS = (WinogradConv2d, DirectConv2d, FoldedConv2d)
EPS = torch.finfo(torch.float32).eps
# Of a sum of 9 * 17 products, each path rounds it in its own order; F(4x4) errs by about 5x a direct sum.
TOLERANCE = 5 * 9 * 17 * EPS


def conv_and_norm(bias: bool = True, **options) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv = nn.Conv2d(17, 23, 3, padding=1, bias=bias, **options).eval()
    norm = nn.BatchNorm2d(23).eval()
    with torch.no_grad():
        norm.weight.uniform_(-1, 2)
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return conv, norm


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 17, 9, 11)


@pytest.fixture
def skip() -> Tensor:
    return torch.randn(2, 23, 9, 11)


def close(mine: Tensor, theirs: Tensor) -> bool:
    return bool((mine - theirs).abs().max() <= TOLERANCE * theirs.abs().max())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_folding_is_exact_in_float64(bias, affine, x):
    conv, _ = conv_and_norm(bias, dtype=torch.float64)
    norm = nn.BatchNorm2d(23, affine=affine, dtype=torch.float64).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    weight, shift = folded(conv.weight, conv.bias, norm)
    with torch.no_grad():
        expected = norm(conv(x.double()))
        assert torch.allclose(
            nn.functional.conv2d(x.double(), weight, shift, padding=1), expected, atol=1e-12
        )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", KINDS)
def test_computes_norm_addition_and_activation(kind, memory_format, x, skip):
    conv, norm = conv_and_norm()
    x, skip = x.to(memory_format=memory_format), skip.to(memory_format=memory_format)
    module = kind.from_module(conv, activation="relu").follow(norm)
    with torch.inference_mode():
        for added in (None, skip):
            expected = norm(conv(x)) if added is None else norm(conv(x)) + skip
            assert close(module(x, added), expected.relu())
            assert module(x, added).is_contiguous(memory_format=memory_format)
        assert close(module(x, skip, 0.5), (norm(conv(x)) + 0.5 * skip).relu())
        assert close(module(x[0], skip[0]), (norm(conv(x[:1])) + skip[:1]).relu()[0])
    assert not module.fallbacks


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_depthwise_layers_do_the_same(memory_format):
    conv = nn.Conv2d(23, 23, 3, padding=1, groups=23).eval()
    _, norm = conv_and_norm()
    x = torch.randn(2, 23, 9, 11).to(memory_format=memory_format)
    module = DepthwiseConv2d.from_module(conv, activation="relu").follow(norm)
    with torch.inference_mode():
        skip = torch.randn_like(x)
        assert close(module(x, skip), (norm(conv(x)) + skip).relu())
    assert not module.fallbacks


@pytest.mark.parametrize("kind", KINDS)
def test_sees_writes_to_the_norm(kind, x):
    conv, norm = conv_and_norm()
    module = kind.from_module(conv).follow(norm)
    with torch.inference_mode(False), torch.no_grad():
        module(x)
        norm.running_var.mul_(3)
        assert close(module(x), norm(conv(x)))
        norm.load_state_dict(conv_and_norm()[1].state_dict())
        assert close(module(x), norm(conv(x)))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_weight_and_norm(kind, x, skip):
    conv, norm = conv_and_norm()
    module = kind.from_module(conv, activation="silu").follow(norm)
    wanted = [conv.weight, conv.bias, norm.weight, norm.bias]
    mine = torch.autograd.grad(module(x, skip).square().sum(), wanted)
    theirs = torch.autograd.grad(nn.functional.silu(norm(conv(x)) + skip).square().sum(), wanted)
    # Sums over 198 pixels of what is itself rounded as above.
    assert all(
        (a - b).abs().max() <= 10 * TOLERANCE * b.abs().max() for a, b in zip(mine, theirs, strict=True)
    )


def write_bias(conv, norm):
    conv.bias.add_(1)


def replace_bias(conv, norm):
    conv.bias = nn.Parameter(torch.full_like(conv.bias, 2.0))


def replace_statistics(conv, norm):
    norm.running_mean = norm.running_mean + 1


def load_by_assigning(conv, norm):
    norm.load_state_dict({name: t + 1 for name, t in norm.state_dict().items()}, assign=True)


@pytest.mark.parametrize("change", [write_bias, replace_bias, replace_statistics, load_by_assigning])
@pytest.mark.parametrize("kind", [*KINDS, Int8Conv2d])
def test_what_is_folded_is_never_stale(kind, change, x):
    conv, norm = conv_and_norm()
    module = kind.from_module(conv).follow(norm)
    with torch.no_grad():
        module(x)
        change(module, norm)
        fresh = copy.deepcopy(module).follow(norm)
        assert torch.equal(module(x), fresh(x))


@pytest.mark.parametrize("kind", KINDS)
def test_a_norm_that_trained_when_the_weight_was_packed_runs_as_it_is(kind, x):
    conv, norm = conv_and_norm()
    module = kind.from_module(conv).follow(norm.train()).eval()
    twin = copy.deepcopy(norm)
    with torch.no_grad():
        assert close(module(x), twin(conv(x)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_norm_in_training_runs_as_it_is(kind, x):
    conv, norm = conv_and_norm()
    twin = copy.deepcopy(norm).train()
    module = kind.from_module(conv, activation="relu").follow(norm)
    norm.train()
    assert close(module(x), twin(conv(x)).relu())
    assert torch.allclose(norm.running_mean, twin.running_mean, rtol=1e-5)
    norm.eval()
    with torch.no_grad():
        assert close(module(x), norm(conv(x)).relu())


@pytest.mark.parametrize("kind", KINDS)
def test_deferred_computes_the_bare_convolution_unless_asked(kind, x, skip):
    conv, norm = conv_and_norm()
    module = kind.from_module(conv, activation="relu").follow(norm, deferred=True)
    with torch.inference_mode():
        assert torch.equal(module(x), conv(x))
        assert close(module(x, skip, fused=True), (norm(conv(x)) + skip).relu())
    module(x).sum().backward()
    assert conv.weight.grad is not None


@pytest.mark.parametrize("kind", KINDS)
def test_keeps_the_stock_state_and_goes_through_copies(kind, x):
    conv, norm = conv_and_norm()
    module = kind.from_module(conv).follow(norm)
    assert list(module.state_dict()) == ["weight", "bias"]
    with torch.no_grad():
        module(x.to(memory_format=torch.channels_last))
        for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert torch.equal(twin(x), module(x))
    assert type(module.to_module()) is nn.Conv2d
    assert module.to_module().weight is conv.weight
    assert "norm=folded" in repr(module)


@pytest.mark.parametrize("kind", KINDS)
def test_compiles_without_a_graph_break(kind, x, skip):
    conv, norm = conv_and_norm()
    module = kind.from_module(conv, activation="relu").follow(norm)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        assert close(compiled(x, skip), (norm(conv(x)) + skip).relu())


def test_refuses_what_cannot_be_folded():
    module = DirectConv2d.from_module(conv_and_norm()[0])
    for norm, message in (
        (nn.BatchNorm2d(22), "norm must have 23 features, got num_features=22"),
        (nn.BatchNorm2d(23, track_running_stats=False), "norm must have running statistics"),
        (nn.GroupNorm(1, 23), "norm must be an nn.BatchNorm2d, got GroupNorm"),
    ):
        with pytest.raises(ValueError, match=message):
            module.follow(norm)


@pytest.mark.parametrize("activation", [None, *activations.NAMES])
@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"groups": 4},
        {"padding": "same"},
        {"padding_mode": "reflect", "padding": 1},
        {"dilation": 2},
    ],
    ids=str,
)
def test_torch_s_own_convolution_of_any_geometry(activation, options):
    conv = nn.Conv2d(16, 24, 3, **options).eval()
    module = FoldedConv2d.from_module(conv, activation=activation)
    x = torch.randn(2, 16, 9, 11).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        skip = torch.randn_like(conv(x))
        expected = activations.apply(activation, conv(x) + skip, module.activation_param)
        assert close(module(x, skip), expected)
        assert close(module(x), activations.apply(activation, conv(x), module.activation_param))
        without = FoldedConv2d.from_module(conv, activation=activation)
        assert without.counts(x.shape, skip.shape).flops > without.counts(x.shape).flops


def test_oneDNN_can_be_switched_off(monkeypatch):
    conv, norm = conv_and_norm()
    module = FoldedConv2d.from_module(conv).follow(norm)
    x = torch.randn(1, 17, 9, 11).to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=False):
        assert close(module(x), norm(conv(x)))
    assert module._reordered == (None, None)
