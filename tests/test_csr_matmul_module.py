"""SparseLinear against nn.Linear, its training, its files, and what gk.plan makes of it."""

import copy
import io
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, COMPILED, needs_kernels
from csr_cases import expected, make_weight
from synthetic_clock import SyntheticClock
from torch import nn
from torch.nn.utils import prune

import greenkernels as gk
from greenkernels.nn import SparseLinear, sparse_speed
from greenkernels.planning import candidates
from greenkernels.planning.candidates.csr_matmul import STEM


def pair(n=70, k=130, density=0.2, dtype=torch.float32, **options) -> tuple[nn.Linear, SparseLinear]:
    stock = nn.Linear(k, n, dtype=dtype, bias=options.pop("bias", True)).eval()
    with torch.no_grad():
        stock.weight.copy_(make_weight(n, k, density, dtype))
    return stock, SparseLinear.from_module(stock, warn=False, **options)


def assert_same(module, stock, x):
    want, bound = expected(x.reshape(-1, x.shape[-1]), stock.weight.detach(), stock.bias)
    out = module(x)
    assert out.shape == (*x.shape[:-1], stock.out_features)
    assert ((out.reshape(want.shape) - want).abs() <= bound).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(130,), (1, 130), (20, 130), (2, 3, 130), (100, 130), (0, 130)])
def test_computes_what_the_stock_module_does(shape, bias, dtype):
    stock, module = pair(dtype=dtype, bias=bias)
    x = torch.randn(shape, dtype=torch.float64).to(dtype)
    assert_same(module, stock, x)
    with torch.inference_mode():
        assert_same(module, stock, x)
    assert not (module.fallbacks and COMPILED)


def test_reset_parameters_draws_new_values_at_the_same_places():
    _, module = pair()
    places = module.weight != 0
    module.reset_parameters()
    assert torch.equal(module.weight != 0, places)
    assert max(p.abs().max() for p in (module.values, module.bias)) <= 130**-0.5
    assert_same(module, module.to_module(), torch.randn(5, 130))


def test_answers_as_a_linear():
    stock, module = pair()
    assert isinstance(module, nn.Linear)
    assert (module.in_features, module.out_features) == (130, 70)
    assert torch.equal(module.weight, stock.weight)
    assert module.bias is stock.bias
    assert [name for name, _ in module.named_parameters()] == ["values", "bias"]
    back = module.to_module()
    assert type(back) is nn.Linear
    assert torch.equal(back.weight, stock.weight)
    assert back.bias is stock.bias
    assert torch.equal(module.to_sparse_csr().to_dense(), stock.weight)
    assert torch.equal(SparseLinear.from_sparse_csr(module.to_sparse_csr(), module.bias).weight, stock.weight)


def test_repr_says_what_is_stored():
    _, module = pair(4, 5, 1.0)
    module.train()
    assert repr(module) == (
        "SparseLinear(in_features=5, out_features=4, bias=True, nnz=20, sparsity=0.000, packed_bytes=0)"
    )


def test_takes_what_torch_pruned_and_keeps_its_mask():
    stock = nn.Linear(30, 20)
    prune.l1_unstructured(stock, "weight", 0.8)
    with torch.no_grad():
        stock.weight_orig[stock.weight_mask.bool()] *= torch.tensor([0.0] + [1.0] * 119)
    module = SparseLinear.from_module(stock, warn=False)
    assert module.values.numel() == 120  # a kept weight that is zero may be trained
    x = torch.randn(3, 30)
    torch.testing.assert_close(module(x), stock(x))


@pytest.mark.parametrize(
    ("stock", "message"),
    [
        (nn.Linear(4, 4, dtype=torch.complex64), "got dtype=torch.complex64"),
        (nn.Conv2d(4, 4, 3), "type must be torch.nn.modules.linear.Linear, got type=Conv2d"),
        (nn.utils.weight_norm(nn.Linear(4, 4)), "_forward_pre_hooks must be empty"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_from_module_names_what_it_cannot_replace(stock, message):
    with pytest.raises(ValueError, match=message):
        SparseLinear.from_module(stock)
    with pytest.raises(
        ValueError, match=r"weight must be a 2-D torch.sparse_csr tensor, got 2-D, torch.strided"
    ):
        SparseLinear.from_sparse_csr(torch.ones(2, 2))


def test_trains_as_the_dense_layer_with_its_mask_does():
    stock, module = pair()
    mask = stock.weight != 0
    dense = [stock.weight, stock.bias]
    x, target = torch.randn(40, 130), torch.randn(40, 70)
    other = copy.deepcopy(module).train()
    optimizers = [torch.optim.Adam(p, lr=0.01) for p in (dense, other.parameters())]
    for _ in range(3):
        for optimizer, layer in zip(optimizers, (stock, other), strict=True):
            optimizer.zero_grad()
            F.mse_loss(layer(x), target).backward()
            if layer is stock:
                stock.weight.grad *= mask
            optimizer.step()
    torch.testing.assert_close(other.weight, stock.weight, rtol=1e-4, atol=1e-5)
    state = optimizers[1].state[other.values]
    assert state["exp_avg"].numel() == int(mask.sum())


@needs_kernels
def test_the_packed_weight_is_never_stale():
    _, module = pair()
    x = torch.randn(20, 130)
    changes = [
        lambda: module.values.mul_(2),
        lambda: setattr(module, "values", nn.Parameter(torch.randn_like(module.values))),
        lambda: module.load_state_dict({"weight": make_weight(70, 130, 0.1), "bias": torch.randn(70)}),
        lambda: (module.values.data.mul_(3), module.repack()),
        lambda: module.double().float(),
    ]
    with torch.no_grad():
        module(x)
        for change in changes:
            change()
            torch.testing.assert_close(
                module(x), F.linear(x, module.weight, module.bias), rtol=1e-4, atol=1e-4
            )


def test_state_dict_is_that_of_the_stock_layer():
    stock, module = pair(200, 500, 0.1)
    state = module.state_dict()
    assert list(state) == list(stock.state_dict())
    assert torch.equal(state["weight"], stock.weight)
    nn.Linear(500, 200).load_state_dict(state)
    fresh = SparseLinear(500, 200)
    assert fresh.weight.count_nonzero() == 0
    fresh.load_state_dict(state)
    assert torch.equal(fresh.weight, stock.weight)
    values = fresh.values
    fresh.load_state_dict({"packed_weight": module.packed_weight(), "bias": state["bias"]})
    assert torch.equal(fresh.weight, stock.weight)
    assert fresh.values is values  # as many nonzeros as before: an optimizer keeps its Parameter


def test_state_dict_of_something_else_is_refused():
    _, module = pair()
    state = {"bias": module.bias, "packed_weight": module.packed_weight()}
    with pytest.raises(RuntimeError, match=r"Missing key.*weight"):
        module.load_state_dict({"bias": state["bias"]})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*extra"):
        module.load_state_dict({**state, "extra": torch.zeros(1)})
    with pytest.raises(RuntimeError, match=r"packed_weight must be of shape \[3, 130\], got 70 rows of 130"):
        SparseLinear(130, 3).load_state_dict({**state, "bias": torch.zeros(3)})
    with pytest.raises(RuntimeError, match=r"weight must be of shape \[70, 130\], got \[2, 2\]"):
        module.load_state_dict({"weight": torch.zeros(2, 2), "bias": state["bias"]})
    damaged = state["packed_weight"].clone()
    damaged[-1] ^= 1
    with pytest.raises(RuntimeError, match="packed_weight is damaged: its checksum does not match"):
        module.load_state_dict({**state, "packed_weight": damaged})


def test_survives_copies_and_files():
    _, module = pair()
    x = torch.randn(20, 130)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    loaded = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    with torch.inference_mode():
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded):
            assert torch.equal(other(x), module(x))


@pytest.mark.parametrize("training", [False, True])
def test_compiles_and_exports(training):
    _, module = pair()
    module.train(training)
    x = torch.randn(20, 130)
    want = module(x)
    torch.testing.assert_close(torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)(x), want)
    program = torch.export.export(module, (x,))
    torch.testing.assert_close(program.module()(x), want)


def test_falls_back_on_other_devices():
    _, module = pair()
    meta = copy.deepcopy(module).to("meta")
    assert meta(torch.randn(2, 130, device="meta")).shape == (2, 70)
    assert meta.fallbacks == {"input.device=meta": 1}
    strict = pair(strict=True)[1].to("meta")
    with pytest.raises(RuntimeError, match="SparseLinear: strict=True forbids the fallback"):
        strict(torch.randn(2, 130, device="meta"))


def test_stands_where_a_parent_reads_its_weight():
    parent = nn.MultiheadAttention(16, 2, batch_first=True).eval()
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        parent.out_proj.weight[torch.rand(16, 16) < 0.8] = 0
        want = parent(x, x, x)[0]
        plain = nn.Linear(16, 16)
        plain.load_state_dict(parent.out_proj.state_dict())
        parent.out_proj = SparseLinear.from_module(plain, warn=False).eval()
        torch.testing.assert_close(parent(x, x, x)[0], want)


# --- is it faster?


def times_of(monkeypatch, clock, sparse_s):
    """From here on a dense layer takes 1 s of the clock, a sparse one as long as said."""

    def timed(kind, seconds):
        plain = kind.forward

        def forward(self, x):
            clock.work(seconds)
            return plain(self, x)

        monkeypatch.setattr(kind, "forward", forward)

    timed(nn.Linear, 1.0)
    timed(SparseLinear, sparse_s)


@needs_kernels
@pytest.mark.parametrize(("sparse_s", "warns"), [(0.5, False), (1.0, False), (2.0, True)])
def test_warns_with_the_measured_times_where_it_is_slower(monkeypatch, sparse_s, warns):
    clock = SyntheticClock()
    stock, module = pair()
    times_of(monkeypatch, clock, sparse_s)
    message = r"SparseLinear: with 80.1% zeros slower than nn.Linear on inputs \[64, 130\]: 2e\+03 ms against 1e\+03"
    if warns:
        with pytest.warns(sparse_speed.SlowerThanDense, match=message):
            sparse_speed.warn_if_slower(stock, module, (64, 130), clock)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sparse_speed.warn_if_slower(stock, module, (64, 130), clock)


# --- in a plan


def test_is_a_candidate_of_pruned_layers():
    stem = candidates.named("csr_matmul")
    stock, _ = pair(density=0.05)
    assert stem.refuses(stock) is None
    module = stem.build(stock, stem.options(stock)[0], None)
    x = torch.randn(64, 130)
    assert_same(module, stock, x)
    assert stem.extra_bytes(stock, {}) == module.packed_for(64).numel() if COMPILED else True
    assert stem.cold_start(stock, [x.shape]) == {}
    assert 0 < stem.scratch_bytes(stock, {}, [x.shape]) < torch.get_num_threads() * (1 << 20)
    plan = gk.plan(nn.Sequential(stock).eval(), x, measure=False)
    assert isinstance(gk.restore(plan.apply(nn.Sequential(stock).eval()))[0], nn.Linear)


@needs_kernels
@pytest.mark.parametrize(("sparse_s", "kernel"), [(0.5, "csr_matmul"), (1.0, "stock"), (2.0, "stock")])
def test_a_plan_takes_it_only_where_it_is_faster(monkeypatch, sparse_s, kernel):
    clock = SyntheticClock(noise=0.01)
    monkeypatch.setattr(candidates, "registered", lambda: (STEM,))
    model, x = nn.Sequential(pair(density=0.5)[0]).eval(), torch.randn(64, 130)
    times_of(monkeypatch, clock, sparse_s)
    (layer,) = gk.plan(model, x, clock=clock, progress=False, cache=False).layers
    assert layer.kernel == kernel
    if sparse_s == 2.0:
        assert "slower" in layer.reason


def test_is_no_candidate_of_dense_layers():
    stem = candidates.named("csr_matmul")
    assert stem.refuses(nn.Linear(30, 40)) == (
        "0% of its weights are zero, too few for a sparse product (rule: 30%)"
    )
    half, _ = pair(density=0.5)
    assert "only a measurement can tell" in stem.cold_start(half, [torch.Size([4, 130])])
