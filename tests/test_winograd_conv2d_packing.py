"""The packed weight of WinogradConv2d is never stale, and never packed twice for nothing."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from winograd_cases import COMPILE_BACKEND, make, needs_kernels

from greenkernels.nn import WinogradConv2d, winograd_conv2d
from greenkernels.nn.packing import PackedOnEachCall

pytestmark = needs_kernels


def eval_module(**options) -> WinogradConv2d:
    torch.manual_seed(0)
    return WinogradConv2d(6, 9, 3, padding=1, **options).eval()


def assert_fresh(module, x) -> None:
    with torch.no_grad():
        torch.testing.assert_close(
            module(x), F.conv2d(x, module.weight, module.bias, padding=1), rtol=1e-4, atol=1e-4
        )


@pytest.fixture
def packings(monkeypatch):
    """The weights packed since the test began."""
    seen: list[torch.Tensor] = []
    pack = winograd_conv2d.pack
    monkeypatch.setattr(
        winograd_conv2d, "pack", lambda weight, tile: seen.append(weight) or pack(weight, tile)
    )
    return seen


X = make((2, 6, 9, 8))


def test_packs_once_not_per_call(packings):
    module = eval_module()
    assert len(packings) == 1
    for _ in range(3):
        with torch.inference_mode():
            module(X)
        with torch.no_grad():
            module(X)
    assert len(packings) == 1


def test_training_keeps_no_packed_weight(packings):
    module = eval_module().train()
    packings.clear()
    module(X).sum().backward()
    assert module.packed is None
    assert not packings
    module.weight.requires_grad_(False)  # a frozen layer of a network in training: packed at its first call
    module(X), module(X)
    assert len(packings) == 1


def double(module):
    with torch.no_grad():
        module.weight.mul_(2)


def double_in_inference_mode(module):
    with torch.inference_mode():
        module.weight.mul_(2)


def step(module, make_optimizer):
    optimizer = make_optimizer(module.parameters())
    module(X).sum().backward()
    optimizer.step()


def load(module):
    module.load_state_dict({"weight": make((9, 6, 3, 3), 7), "bias": make((9,), 8)})


def load_by_assignment(module):
    module.load_state_dict({"weight": make((9, 6, 3, 3), 7), "bias": make((9,), 8)}, assign=True)


def new_parameter(module):
    module.weight = nn.Parameter(make((9, 6, 3, 3), 9))


def new_data(module):
    module.weight.data = make((9, 6, 3, 3), 10)


def other_strides_at_the_same_address(module):
    module.weight.data = module.weight.data.transpose(2, 3)


def from_vector(module):
    nn.utils.vector_to_parameters(make((9 * 6 * 9 + 9,), 3), module.parameters())


def to_double_and_back(module):
    module.double()
    module.float()


def swap(module):
    torch.utils.swap_tensors(module.weight, nn.Parameter(make((9, 6, 3, 3), 11)))


CHANGES = [
    double,
    double_in_inference_mode,
    lambda module: step(module, lambda p: torch.optim.SGD(p, lr=0.1)),
    lambda module: step(module, lambda p: torch.optim.Adam(p, lr=0.1, foreach=True)),
    lambda module: step(module, lambda p: torch.optim.AdamW(p, lr=0.1, fused=True)),
    load,
    load_by_assignment,
    new_parameter,
    new_data,
    other_strides_at_the_same_address,
    from_vector,
    to_double_and_back,
    swap,
    lambda module: nn.init.normal_(module.weight),
    lambda module: module.weight.detach().view(-1)[3:5].fill_(2.0),
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_the_weight_is_seen(change):
    module = eval_module()
    assert_fresh(module, X)
    change(module)
    assert_fresh(module, X)
    with torch.inference_mode():
        assert_fresh(module, X)


def test_a_weight_at_a_reused_address_is_seen():
    """The address of a freed weight comes back for a later one; a cache by addresses gives the old product."""
    module = eval_module()
    with torch.no_grad():
        for seed in range(20):
            for _ in range(
                2
            ):  # the second leaves no reference to the storage that was packed but the module's own
                module.weight.data = make((9, 6, 3, 3), seed)
            assert_fresh(module, X)
    for _ in range(20):
        new = nn.Conv2d(6, 9, 3, padding=1)
        module.weight, module.bias = new.weight, new.bias
        del new
        assert_fresh(module, X)


def test_hidden_writes_need_repack_or_a_change_of_mode():
    for catch_up in (WinogradConv2d.repack, nn.Module.eval, lambda module: module.train().eval()):
        module = eval_module()
        module.weight.data.mul_(3)
        catch_up(module)
        assert_fresh(module, X)


def test_weights_made_in_inference_mode_are_packed_on_each_call():
    """Torch counts no writes to them, so nothing could tell that a packed copy is stale."""
    with torch.inference_mode():
        module = eval_module()
        assert module.packed is None
        with pytest.warns(
            PackedOnEachCall, match="WinogradConv2d: .*make the module outside of inference_mode"
        ):
            assert_fresh(module, X)
        module.weight.mul_(2)
        assert_fresh(module, X)


def test_a_pack_made_in_inference_mode_serves_autograd_later():
    module = eval_module()
    module.requires_grad_(False)
    double(module)
    with torch.inference_mode():
        module(X)
    x = X.clone().requires_grad_()
    module(x).sum().backward()
    expected = torch.autograd.grad(F.conv2d(x, module.weight, padding=1).sum(), x)[0]
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-4)


def test_parametrized_and_functional_weights():
    module = eval_module()
    nn.utils.parametrizations.weight_norm(module)
    assert_fresh(module, X)
    with torch.no_grad():
        module.parametrizations.weight.original0.mul_(2)
    assert_fresh(module, X)
    module = eval_module()
    other = {"weight": make((9, 6, 3, 3), 12), "bias": make((9,), 13)}
    out = torch.func.functional_call(module, other, (X,))
    torch.testing.assert_close(
        out, F.conv2d(X, other["weight"], other["bias"], padding=1), rtol=1e-4, atol=1e-4
    )
    assert_fresh(module, X)
    stacked = {name: torch.stack([value, 2 * value]) for name, value in other.items()}
    both = torch.func.vmap(lambda p: torch.func.functional_call(module, p, (X,)))(stacked)
    torch.testing.assert_close(both[0], out, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both[1], 2 * out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_compiles_in_one_graph(training):
    module = eval_module(activation="silu").train(training)
    compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
    expected = F.silu(F.conv2d(X, module.weight, module.bias, padding=1))
    torch.testing.assert_close(compiled(X), expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(compiled(X), expected, rtol=1e-4, atol=1e-4)
    compiled(X).sum().backward()
    grad, module.weight.grad = module.weight.grad, None
    module(X).sum().backward()
    torch.testing.assert_close(grad, module.weight.grad)


def test_a_compiled_module_follows_repack():
    module = eval_module()
    compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
    with torch.no_grad():
        compiled(X)
        module.weight.mul_(2)
        module.repack()
        torch.testing.assert_close(
            compiled(X), F.conv2d(X, module.weight, module.bias, padding=1), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("strict", [False, True])
def test_exports_with_the_packed_weight(strict):
    module = eval_module(activation="relu")
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("h", min=4), 3: torch.export.Dim("w", min=4)}
    program = torch.export.export(module, (X,), dynamic_shapes=(sizes,), strict=strict)
    ops = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert torch.ops.greenkernels.winograd_conv2d_packed.default in ops
    for x in (X, make((3, 6, 12, 5))):
        torch.testing.assert_close(program.module()(x), module(x))


def test_two_threads_may_meet_a_stale_weight_at_once():
    module = eval_module()
    with torch.no_grad():
        for _ in range(20):
            module.weight.mul_(-1.1)
            expected = copy.deepcopy(module)(X)
            results: list[torch.Tensor] = []

            def call(results=results) -> None:
                with torch.no_grad():
                    results.append(module(X))

            threads = [threading.Thread(target=call) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(results) == 2
            assert all(torch.equal(result, expected) for result in results)
