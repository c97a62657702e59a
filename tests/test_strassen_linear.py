"""StrassenLinear: a drop-in for nn.Linear in values, gradients, state, copies, planning and counts."""

import copy
import pickle

import pytest
import torch
from conv_cases import COMPILE_BACKEND, COMPILED, make, needs_kernels
from torch import nn

from greenkernels.energy import count
from greenkernels.nn import StrassenLinear
from greenkernels.planning.candidates import FusedActivation, named

OPTIONS = [{"levels": "auto"}, {"levels": 0}, {"levels": 1}, {"levels": 2, "activation": "gelu"}]


def stock(**options):
    torch.manual_seed(0)
    return nn.Linear(70, 45, **options).eval()


def assert_same(module, linear, x):
    expected = linear(x)
    if module.activation is not None:
        expected = nn.functional.gelu(expected)
    torch.testing.assert_close(
        module(x), expected, rtol=1e-5, atol=1e-5
    )  # 70 terms below 1: eps sqrt(70) 4^2


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_stands_in_for_linear(options):
    linear = stock()
    module = StrassenLinear.from_module(linear, **options)
    assert isinstance(module, nn.Linear)
    for shape in [(70,), (9, 70), (2, 3, 70), (0, 70)]:
        assert_same(module, linear, make(shape, 1))
    with torch.no_grad():
        assert_same(module, linear, make((9, 70), 2))
        assert_same(copy.deepcopy(module), linear, make((9, 70), 2))
        assert_same(pickle.loads(pickle.dumps(module)), linear, make((9, 70), 2))
    assert not (module.fallbacks and COMPILED)
    assert list(module.state_dict()) == ["weight", "bias"]
    back = module.to_module()
    assert (back if module.activation is None else back[0]).weight is linear.weight


@needs_kernels
def test_packs_again_when_the_weight_changes():
    linear = stock()
    module, x = StrassenLinear.from_module(linear, levels=1), make((9, 70), 1)
    with torch.no_grad():
        before = module(x)
        linear.weight.mul_(2)
        assert_same(module, linear, x)
        assert not torch.equal(module(x), before)
        module.load_state_dict(stock(bias=True).state_dict())
        assert_same(module, stock(), x)
    assert "levels=1, packed_bytes=31360" in repr(module)


def test_gradients_are_those_of_linear():
    linear, x = stock(), make((9, 70), 1)
    module = StrassenLinear.from_module(copy.deepcopy(linear), levels=1).train()
    for layer in (linear, module):
        layer(x).square().sum().backward()
    for name in ("weight", "bias"):
        torch.testing.assert_close(
            getattr(module, name).grad, getattr(linear, name).grad, rtol=1e-4, atol=1e-4
        )


@needs_kernels
def test_what_it_does_not_cover_runs_on_torch_or_raises():
    module = StrassenLinear.from_module(stock(bias=False))
    x = make((9, 70), 1).to_sparse()
    module(x)
    assert module.fallbacks == {"input.layout=torch.sparse_coo": 1}
    module.strict = True
    with pytest.raises(RuntimeError, match="StrassenLinear: strict=True forbids the fallback"):
        module(x)


def test_wrong_options_raise():
    with pytest.raises(ValueError, match='levels must be "auto" or 0 to 3, got 4'):
        StrassenLinear(4, 4, levels=4)
    with pytest.raises(ValueError, match="activation must be one without a parameter, got 'prelu'"):
        StrassenLinear(4, 4, activation="prelu")
    with pytest.raises(ValueError, match=r"type must be torch\.nn\.modules\.linear\.Linear"):
        StrassenLinear.from_module(nn.Conv2d(4, 4, 1))


def test_compiles_and_exports():
    linear, x = stock(), make((9, 70), 1)
    module = StrassenLinear.from_module(linear, levels=1)
    with torch.no_grad():
        compiled = torch.compile(module, backend=COMPILE_BACKEND, fullgraph=True)
        torch.testing.assert_close(compiled(x), linear(x), rtol=1e-5, atol=1e-5)
        exported = torch.export.export(module, (x,)).module()
        torch.testing.assert_close(exported(x), linear(x), rtol=1e-5, atol=1e-5)


def test_candidate_for_plans():
    stem = named("strassen_gemm")
    assert stem.refuses(stock()) is None
    assert "type must be" in stem.refuses(nn.Conv2d(4, 4, 1))
    assert stem.options(stock()) == [{"levels": 0}]
    wide = nn.Linear(1024, 2048, device="meta")
    assert stem.options(wide) == [{"levels": 0}, {"levels": 1}]
    assert stem.extra_bytes(wide, {"levels": 1}) == 7 * 512 * 1024 * 4
    built = stem.build(stock(), {"levels": 0}, FusedActivation("act", "gelu"))
    assert built.activation == "gelu"
    assert isinstance(stem.cold_start(stock(), [torch.Size((9, 70))]), str)
    large = nn.Linear(2048, 2048, device="meta")
    assert stem.cold_start(large, [torch.Size((4, 512, 2048))]) == {"levels": 1}


@needs_kernels
def test_counts():
    conventional = count(StrassenLinear.from_module(stock(), levels=0), (9, 70)).counts
    assert conventional.flops == 2 * 9 * 48 * 70
    assert conventional.bytes_read == 4 * (9 * 70 + 48 * 70 + 45)
    module = StrassenLinear(1024, 1024, bias=False, levels=1).eval()
    strassen = count(module, (1024, 1024)).counts
    # 7 products of half the size, 5 sums of blocks of the input, 8 additions of blocks of the output
    assert strassen.flops == 7 * 2 * 512**3 + 5 * 512**2 + 8 * 2 * 512**2
    assert strassen.weight_bytes == 4 * 7 * 512**2
    wrong = count(module, (3, 5))
    assert wrong.counts is None
    assert "input must be [..., 1024]" in wrong.reason
