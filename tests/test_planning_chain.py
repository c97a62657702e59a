"""Converted networks run blocks behind each other, and layers around them, in one call of the kernel."""

import copy
import pickle

import pytest
import torch
from conv_cases import needs_kernels
from mobile_networks import MobileNetV2, settled
from torch import nn

import greenkernels.nn.separable_call as one_block
import greenkernels.nn.separable_chain as many_blocks
from greenkernels.energy.tally import CountOperations, Tally
from greenkernels.nn.separable_end import SeparableEnd
from greenkernels.ops.separable_conv2d_op import packed_blocks, packed_conv
from greenkernels.planning import candidates, plan
from greenkernels.planning.convert import install
from greenkernels.planning.survey import survey

ROWS = ((1, 8, 1, 1), (6, 12, 2, 2), (4, 20, 2, 1))
X = torch.randn(1, 3, 45, 37, generator=torch.Generator().manual_seed(0))


def with_blocks(model):
    """The network with every block on its kernel, as a plan that measured it so gives it."""

    stems = [stem for stem in candidates.registered() if not stem.lossy]
    sites, _ = survey(copy.deepcopy(model), lambda network: network(X), stems)
    layers = plan(model, X, measure=False, progress=False, cache=False).layers
    by_name = {layer.names[0]: layer for layer in layers}
    for layer in layers:
        if layer.names[0].endswith(("features.0.0", "features.6.0")):  # the first and the last convolution
            layer.stem, layer.options = "direct_conv2d", {}
    for site in sites:
        if site.block is None:
            continue
        for name, chain, stem in zip(
            site.block.layers,
            site.block.chains,
            ("direct_conv2d", "depthwise_conv2d", "separable_conv2d")[-len(site.block.layers) :],
            strict=True,
        ):
            by_name[name].stem, by_name[name].options = stem, {}
            by_name[name].chain, by_name[name].block = chain, site.block.layers
    return install(copy.deepcopy(model), layers, "channels_last")


@pytest.fixture(scope="module")
def converted():
    model = settled(MobileNetV2(ROWS, 8, 32, 10))
    return model, with_blocks(model)


@pytest.fixture
def network(converted):
    return copy.deepcopy(converted)


def chains(model):
    return [m.chain for m in model.modules() if isinstance(m, SeparableEnd) and m.chain is not None]


def calls_of(model, monkeypatch):
    """How often a forward calls the kernel of one block, and that of many."""

    seen = {"one": 0, "many": 0}

    def counted(name, call):
        def run(*arguments):
            seen[name] += 1
            return call(*arguments)

        return run

    monkeypatch.setattr(one_block, "packed_conv", counted("one", packed_conv))
    monkeypatch.setattr(many_blocks, "packed_blocks", counted("many", packed_blocks))
    out = model(X)
    monkeypatch.undo()
    return out, seen["one"], seen["many"]


@needs_kernels
def test_a_network_runs_its_blocks_in_one_call(network, monkeypatch):
    model, fast = network
    kinds = [type(part).__name__ for part, _ in chains(fast)[0].blocks]
    around = ["DirectConv2d", "FusedAway", "FusedAway"]  # with norm and activation
    assert kinds == [*around, *["SeparableEnd"] * 5, *around]
    assert [adds for _, adds in chains(fast)[0].blocks][3:-3] == [True, False, True, False, True]
    with torch.inference_mode():
        out, one, many = calls_of(fast, monkeypatch)
        torch.testing.assert_close(out, model(X), rtol=1e-4, atol=1e-4)
    assert (one, many) == (0, 1)
    for twin in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert {end for end, _ in chains(twin)[0].blocks} <= set(twin.modules())
        with torch.inference_mode():
            assert torch.equal(twin(X), out)


@needs_kernels
def test_whoever_looks_at_a_block_sees_its_calls(network, monkeypatch):
    _, fast = network
    seen = []
    end = chains(fast)[0].blocks[5][0]
    with torch.inference_mode():
        expected = fast(X)
        handle = end.register_forward_hook(lambda module, args, out: seen.append(out.shape))
        out, one, many = calls_of(fast, monkeypatch)
        assert (one, many, len(seen)) == (5, 0, 1)
        handle.remove()
        assert torch.equal(out, expected)
        handle = nn.modules.module.register_module_forward_hook(lambda module, args, out: seen.append(module))
        fast(X)
        handle.remove()
        assert end in seen
        assert calls_of(fast, monkeypatch)[1:] == (0, 1)
    out, one, many = calls_of(fast, monkeypatch)  # with gradients: layer by layer
    assert (one, many) == (0, 0)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def write_to_weight(model):
    model.features[2].conv[0][0].weight.mul_(1.5)


def write_to_statistics(model):
    model.features[3].conv[1][1].running_var.add_(0.5)


def replace_a_norm(model):
    model.features[4].conv[1][1].weight = nn.Parameter(model.features[4].conv[1][1].weight * 0.5)


def replace_data(model):
    model.features[2].conv[2].weight.data = model.features[2].conv[2].weight.data * 0.5


def load_other_weights(model):
    state = {name: value * 1.1 for name, value in model.state_dict().items() if value.is_floating_point()}
    model.load_state_dict(state, strict=False)


@needs_kernels
@pytest.mark.parametrize(
    "change", [write_to_weight, write_to_statistics, replace_a_norm, replace_data, load_other_weights]
)
def test_follows_what_its_layers_were_made_from(network, change, monkeypatch):
    model, fast = network
    with torch.inference_mode():
        before = fast(X)
    with torch.no_grad():
        for each in (model, fast):
            change(each)
    with torch.inference_mode():
        out, _, many = calls_of(fast, monkeypatch)
        assert many == 1
        assert not torch.allclose(out, before, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(out, model(X), rtol=1e-4, atol=1e-4)


@needs_kernels
def test_functional_calls_and_norms_in_training_are_seen(network, monkeypatch):
    model, fast = network
    name = "features.2.conv.0.0.weight"
    other = {name: dict(model.named_parameters())[name].detach() * 0.5}
    with torch.no_grad():
        fast(X)
        expected = torch.func.functional_call(model, other, (X,))
        torch.testing.assert_close(
            torch.func.functional_call(fast, other, (X,)), expected, rtol=1e-4, atol=1e-4
        )
        for each in (model, fast):
            each.features[3].conv[1][1].train()
        torch.testing.assert_close(fast(X), model(X), rtol=1e-3, atol=1e-3)


def test_a_value_that_is_read_twice_ends_a_chain():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = settled(MobileNetV2(ROWS, 8, 32, 10))

        def forward(self, x):
            features = self.network.features
            x = features[3](features[2](features[1](features[0](x))))
            return features[4](x).mean() + x.mean()

    model = settled(Twice())
    fast = with_blocks(model)
    assert [len(chain.blocks) for chain in chains(fast)] == [6]
    with torch.inference_mode():
        torch.testing.assert_close(fast(X), model(X), rtol=1e-4, atol=1e-4)


def counted(model):
    tally = Tally()
    with torch.inference_mode(), CountOperations(tally.add):
        model(X)
    assert not tally.uncounted
    return tally.total


@needs_kernels
def test_counts_are_those_of_its_parts(network):
    """Of the network in one call, and of the same with a hook that makes each block a call of its own."""
    _, fast = network
    together = counted(fast)
    handle = chains(fast)[0].blocks[5][0].register_forward_hook(lambda module, args, out: None)
    apart = counted(fast)
    handle.remove()
    assert (together.flops, together.bytes_written) == (apart.flops, apart.bytes_written)
    # Where a block adds its input, that is read twice by one call, and by two of the hook's.
    assert together.bytes_read <= apart.bytes_read


@needs_kernels
def test_what_a_block_adds_may_be_another_map():
    """Then its call is none of a chain, which knows of no map but its input."""

    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = settled(MobileNetV2(ROWS, 8, 32, 10))

        def forward(self, x):
            features = self.network.features
            x = features[0](x)
            other = x.flip(3)
            return features[2](features[1].conv(x) + other)

    model = settled(Shortcut())
    fast = with_blocks(model)
    with torch.inference_mode():
        torch.testing.assert_close(fast(X), model(X), rtol=1e-4, atol=1e-4)
