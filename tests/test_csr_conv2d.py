"""SparseConv2d and its op against float64: every geometry, layout and instruction set; checks, gradients, files."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, COMPILED, needs_kernels
from csr_cases import make_weight
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import prune

import greenkernels as gk
from greenkernels.energy import count
from greenkernels.energy.tally import CountOperations, Tally
from greenkernels.nn import SparseConv2d
from greenkernels.ops import csr_conv2d_op as op
from greenkernels.ops.csr_matmul_op import pack
from greenkernels.planning import candidates

# (in_c, out_c, h, w), options: 1x1, 3x3, 5x5, strides, paddings wider than the map, dilations, maps of fewer and of
# more pixels than a strip, more channels than a tile, nothing to convolve.
CASES = [
    ((1, 1, 1, 1), {"kernel_size": 1}),
    ((3, 5, 7, 5), {"kernel_size": 3, "padding": 1}),
    ((17, 33, 9, 13), {"kernel_size": 3, "stride": 2, "padding": (1, 0)}),
    ((16, 70, 12, 12), {"kernel_size": 1}),
    ((33, 20, 13, 15), {"kernel_size": 1, "stride": 2}),
    ((4, 9, 20, 23), {"kernel_size": 5, "padding": 2}),
    ((6, 7, 12, 13), {"kernel_size": (2, 4), "padding": (1, 2), "stride": (3, 1), "dilation": (2, 3)}),
    ((8, 40, 2, 2), {"kernel_size": 3, "padding": (5, 4)}),
    ((2, 3, 1, 80), {"kernel_size": (1, 3), "padding": (0, 1), "stride": (1, 3)}),
    ((4, 6, 9, 9), {"kernel_size": 4, "padding": "same", "dilation": (1, 2)}),
    ((4, 6, 9, 9), {"kernel_size": 3, "padding": "valid"}),
]


def pair(sizes, density=0.2, dtype=torch.float32, **options) -> tuple[nn.Conv2d, SparseConv2d, torch.Tensor]:
    in_c, out_c, h, w = sizes
    stock = nn.Conv2d(in_c, out_c, dtype=dtype, **options).eval()
    with torch.no_grad():
        flat = make_weight(out_c, stock.weight[0].numel(), density, torch.float64)
        stock.weight.copy_(flat.reshape(stock.weight.shape))
    x = torch.randn(2, in_c, h, w, dtype=torch.float64).to(dtype)
    return stock, SparseConv2d.from_module(stock), x


def assert_same(out, stock, x):
    """As in csr_cases: roundings of a sum of terms of either sign are a random walk."""
    exact = copy.deepcopy(stock).double()
    want = exact(x.double())
    with torch.no_grad():
        weight, bias = exact.weight.clone(), exact.bias
        terms = (weight != 0).flatten(1).sum(1)[:, None, None].double() + 2
        exact.weight.square_()
        exact.bias = None if bias is None else nn.Parameter(bias.square())
        squares = exact(x.double().square())
        bound = 4 * torch.finfo(x.dtype).eps / 2 * terms.sqrt() * squares.sqrt()
        bound += torch.finfo(x.dtype).eps * want.abs() + 1e-30
    assert out.shape == want.shape
    assert ((out - want).abs() <= bound).all()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("sizes", "options"), CASES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_computes_what_the_stock_module_does(sizes, options, memory_format, isa):
    for bias in (False, True):
        stock, module, x = pair(sizes, bias=bias, **options)
        x = x.contiguous(memory_format=memory_format)
        with torch.inference_mode():
            assert_same(module(x), stock, x)
            assert module(x).stride() == stock(x).stride()
            assert module(x[0]).shape == stock(x[0]).shape
        assert not (module.fallbacks and COMPILED)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_all_zeros_and_no_zeros(density, isa):
    stock, module, x = pair((9, 40, 11, 10), density, kernel_size=3, padding=1)
    with torch.inference_mode():
        assert_same(module(x), stock, x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    stock, module, x = pair((6, 8, 9, 9), dtype=dtype, kernel_size=3)
    with torch.inference_mode():
        assert_same(module(x), stock, x)
    own = [] if dtype == torch.bfloat16 else ["input.dtype=torch.float64"]
    assert list(module.fallbacks) == (own if COMPILED else ["no compiled kernel"])


def test_empty_maps_and_batches():
    _, module, x = pair((3, 5, 8, 8), kernel_size=3, padding=1)
    with torch.no_grad():
        assert module(x[:0]).shape == (0, 5, 8, 8)
        assert module(x[:, :, :1, :]).shape == (2, 5, 1, 8)


def test_answers_as_a_conv2d_and_goes_back():
    stock, module, _ = pair((4, 6, 9, 9), kernel_size=3, stride=(1, 2), padding=1, dilation=2)
    assert isinstance(module, nn.Conv2d)
    for name in ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"):
        assert getattr(module, name) == getattr(stock, name)
    assert torch.equal(module.weight, stock.weight)
    assert "nnz=" in repr(module)
    back = module.to_module()
    assert type(back) is nn.Conv2d
    assert torch.equal(back.weight, stock.weight)


def test_gradients_flow_to_the_nonzeros_alone():
    stock, module, x = pair((4, 6, 9, 9), kernel_size=3, padding=1)
    module.train()
    x.requires_grad_()
    module(x).square().sum().backward()
    grad_x, x.grad = x.grad, None
    stock(x).square().sum().backward()
    torch.testing.assert_close(grad_x, x.grad)
    assert module.values.grad.shape == module.values.shape
    torch.testing.assert_close(module.values.grad, stock.weight.grad[stock.weight != 0])


def test_gradient_of_the_input_of_a_frozen_layer():
    stock, module, x = pair((4, 6, 9, 9), kernel_size=3, padding=1)
    module.requires_grad_(False)
    x.requires_grad_()
    module(x).square().sum().backward()
    grad_x, x.grad = x.grad, None
    stock(x).square().sum().backward()
    torch.testing.assert_close(grad_x, x.grad, rtol=1e-4, atol=1e-4)


def test_reset_parameters_draws_new_values_at_the_same_places():
    _, module, x = pair((17, 33, 9, 13), kernel_size=3)
    places, before = module.weight != 0, module(x)
    module.reset_parameters()
    assert torch.equal(module.weight != 0, places)
    assert max(p.abs().max() for p in (module.values, module.bias)) <= (17 * 9) ** -0.5
    out = module(x)
    assert not torch.equal(out, before)
    assert_same(out, module.to_module(), x)


def test_takes_masks_and_goes_through_files(tmp_path):
    stock = nn.Conv2d(8, 12, 3)
    prune.l1_unstructured(stock, "weight", 0.9)
    module = SparseConv2d.from_module(stock).eval()
    x = torch.randn(1, 8, 9, 9)
    torch.testing.assert_close(module(x), stock(x))
    fresh = SparseConv2d(8, 12, 3)
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh.weight, module.weight)
    sparse = gk.compress.to_sparse(nn.Sequential(stock))
    assert isinstance(sparse[0], SparseConv2d)
    again = gk.load(nn.Sequential(nn.Conv2d(8, 12, 3)), gk.save(sparse, tmp_path / "conv.safetensors"))
    assert isinstance(again[0], SparseConv2d)
    assert torch.equal(again[0].weight, module.weight)


@pytest.mark.parametrize(
    ("stock", "message"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "groups must be 1, got groups=2"),
        (nn.Conv2d(4, 4, 3, padding_mode="reflect"), "padding_mode must be zeros, got padding_mode=reflect"),
        (nn.Conv1d(4, 4, 3), "type must be torch.nn.modules.conv.Conv2d, got type=Conv1d"),
    ],
)
def test_from_module_names_what_it_cannot_replace(stock, message):
    with pytest.raises(ValueError, match=message):
        SparseConv2d.from_module(stock)


def arguments(density=0.3):
    csr = make_weight(6, 4 * 9, density).to_sparse_csr()
    packed = pack(
        csr.crow_indices().clone(), csr.col_indices().clone(), csr.values().clone(), 36, op.CONV_BATCH
    )
    return (
        torch.randn(2, 4, 8, 9),
        packed,
        torch.randn(6),
        6,
        [3, 3],
        [2, 1],
        [1, 1],
        [1, 1],
        csr.values().numel(),
    )


def test_opcheck_and_compile():
    torch.library.opcheck(op.packed_conv, arguments())
    _, module, x = pair((4, 6, 9, 9), kernel_size=3, padding=1)
    with torch.no_grad():
        compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
        torch.testing.assert_close(compiled(x), module(x))


WRONG = [
    (0, torch.zeros(4, 8, 9), "input must be 4-D"),
    (
        0,
        torch.zeros(2, 4, 8, 9, dtype=torch.float64),
        "input must be float16, bfloat16 or float32, got float64",
    ),
    (0, torch.zeros(2, 500, 8, 9), "packed must have .* elements for .* nonzeros of"),
    (4, [30, 3], "input must be at least as large as the filter"),
    (1, torch.zeros(3, dtype=torch.uint8), "packed must have"),
    (2, torch.zeros(5), "bias must have 6 elements, got 5"),
    (3, -1, r"out_channels must be in \[0, 2\^31\), got -1"),
    (4, [0, 3], r"kernel_size must be two integers in \[1, 2\^31\), got \[0, 3\]"),
    (5, [0, 1], "stride must be two integers"),
    (8, -1, "nnz must be at least 0, got -1"),
]


@pytest.mark.parametrize(("at", "value", "message"), WRONG)
def test_refuses_in_the_same_words(at, value, message):
    args = list(arguments())
    args[at] = value
    with pytest.raises(RuntimeError, match=f"csr_conv2d_packed: {message}") as kernel:
        op.packed_conv(*args)
    with pytest.raises(RuntimeError) as plain:
        op.packed_plain(*args)
    assert str(plain.value) == str(kernel.value)
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in args]
        with pytest.raises(RuntimeError) as fake:
            op.packed_conv(*fakes)
    assert str(fake.value) == str(kernel.value)


def test_refuses_a_filter_that_was_packed_for_another_layer():
    """Of the same size, so that only its header tells; a fake tensor has none."""
    args = torch.zeros(2, 5, 8, 9), *arguments()[1:]
    for call in (op.packed_conv, op.packed_plain):
        with pytest.raises(
            RuntimeError, match=r"csr_conv2d_packed: .*nonzeros of \[6, 45\], got another weight"
        ):
            call(*args)


def test_plain_torch_computes_the_same():
    args = arguments()
    torch.testing.assert_close(op.packed_plain(*args), op.packed_conv(*args), rtol=1e-5, atol=1e-5)


@needs_kernels
def test_counts_as_its_operation_does():
    _, module, x = pair((4, 20, 9, 9), kernel_size=3, padding=1)
    tally = Tally()
    with torch.no_grad():
        module(x)  # packs its filter
        with CountOperations(tally.add, [module.packed, module.bias]):
            module(x)
    assert tally.total == count(module, x.shape).counts
    assert count(module, (1, 5, 9, 9)).counts is None


def test_is_a_candidate_of_pruned_layers():
    stem = candidates.named("csr_conv2d")
    stock, module, x = pair((4, 20, 9, 9), kernel_size=3, padding=1)
    assert stem.refuses(stock) is None
    assert "too few for a sparse product" in stem.refuses(nn.Conv2d(4, 4, 3))
    with torch.no_grad():
        torch.testing.assert_close(
            stem.build(stock, {}, None)(x), F.conv2d(x, stock.weight, stock.bias, padding=1)
        )
    if COMPILED:
        assert stem.extra_bytes(stock, {}) == module.packed.numel()
    assert stem.scratch_bytes(stock, {}, [x.shape]) > 0
    assert "only a measurement" in stem.cold_start(stock, [x.shape])
