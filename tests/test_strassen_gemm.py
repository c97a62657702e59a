"""strassen_gemm against float64 at every level: ragged sizes, packed weights, options, errors, the choice of levels."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from conv_cases import make, needs_kernels
from gemm_cases import SHAPES, assert_close, reference, tolerance

import greenkernels as gk
from greenkernels.ops import strassen_levels, strassen_packing
from greenkernels.ops.strassen_gemm_op import gemm, gemm_plain, pack, packed_gemm, packed_plain, unpack

LEVELS = (0, 1, 2, 3)
EPS = torch.finfo(torch.float32).eps


def strassen_tolerance(a, b, levels, bias=None, activation=None):
    """Rounding of a sum over k grows by the size of the terms that cancel: two blocks on either side and in the result.

    Entries of random matrices add as their root mean square: sums of two blocks are sqrt(2) larger, so products are 2
    times as large on each level, and each output sums up to 4 of them. 4 each level covers that.
    """
    return 4**levels * tolerance(a, b, bias, activation) + EPS * 4**levels


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_matches_float64(m, n, k, levels, isa):
    a, b, bias = make((m, k), 1), make((n, k), 2), make((n,), 3)
    expected, bound = reference(a, b, bias), strassen_tolerance(a, b, levels, bias)
    assert_close(gk.ops.strassen_gemm(a, b, bias, levels=levels), expected, bound)
    packed = gk.ops.strassen_gemm_pack(b, levels)
    assert_close(gk.ops.strassen_gemm_packed(a, packed, bias, n=n, levels=levels), expected, bound)
    transposed = gk.ops.strassen_gemm(a.t().contiguous().t(), b.t().contiguous().t(), bias, levels=levels)
    assert_close(transposed, expected, bound)


@pytest.mark.parametrize("levels", LEVELS)
def test_small_integers_are_exact(levels, isa):
    a, b = torch.randint(-4, 5, (70, 130)).float(), torch.randint(-4, 5, (90, 130)).float()
    assert torch.equal(gk.ops.strassen_gemm(a, b, levels=levels).double(), reference(a, b))


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("name", ["relu", "gelu", "prelu"])
def test_fuses_bias_and_activation(name, levels, isa):
    a, b, bias = make((37, 61), 1), make((53, 61), 2), make((53,), 3)
    param = make((53,), 4) if name == "prelu" else None
    out = gk.ops.strassen_gemm(a, b, bias, levels=levels, activation=name, activation_param=param)
    bound = strassen_tolerance(a, b, levels, bias, name)
    assert_close(out, reference(a, b, bias, name, param), bound)


@pytest.mark.parametrize("levels", LEVELS)
def test_packing_is_that_of_plain_torch_and_comes_back(levels):
    for n, k in [(1, 1), (33, 70), (64, 515), (0, 4)]:
        b = make((n, k), n)
        packed = pack(b, levels)
        # Sums of blocks in another order: a rounding of entries below 2^levels for each level.
        bound = levels * EPS * 2**levels
        torch.testing.assert_close(packed, strassen_packing.pack(b, levels), rtol=0, atol=bound)
        torch.testing.assert_close(unpack(packed, n, k, levels), b, rtol=0, atol=2 * bound)


@needs_kernels
def test_nan_spreads_to_blocks_and_not_to_rows_that_meet_no_block_of_it():
    """What the docstring says: with levels a NaN reaches rows it would not reach without."""
    a, b = make((8, 8), 1), make((8, 8), 2)
    a[0, 0] = float("nan")
    assert gk.ops.strassen_gemm(a, b, levels=0)[1:].isfinite().all()
    assert gk.ops.strassen_gemm(a, b, levels=1)[0].isnan().all()
    assert gk.ops.strassen_gemm(a, b, levels=1)[4].isnan().any()


def test_error_doubles_with_a_level_at_most():
    """The growth that docs/strassen_gemm.md publishes, on one size; a factor of 3 leaves room for other inputs."""
    a, b = torch.randn(256, 256), torch.randn(256, 256)
    expected = reference(a, b)
    errors = [
        ((gk.ops.strassen_gemm(a, b, levels=levels) - expected).norm() / expected.norm()).item()
        for levels in LEVELS
    ]
    for less, more in itertools.pairwise(errors):
        assert more <= 3 * less, errors


def test_gradients_are_right_twice():
    a, b = make((3, 4), 1, torch.float64).requires_grad_(), make((5, 4), 2, torch.float64).requires_grad_()
    bias = make((5,), 3, torch.float64).requires_grad_()
    for levels in (0, 1, 2):

        def call(a, b, bias, levels=levels):
            return gk.ops.strassen_gemm(a, b, bias, levels=levels, activation="gelu")

        assert torch.autograd.gradcheck(call, (a, b, bias))
        assert torch.autograd.gradgradcheck(call, (a, b, bias))
    packed = pack(b.detach(), 1)
    assert torch.autograd.gradcheck(lambda a: packed_gemm(a, packed, None, 5, 1, None, None), (a,))


@needs_kernels
def test_wrong_levels_have_one_message():
    a, b, meta = make((4, 8)), make((6, 8)), torch.empty(4, 8, device="meta")
    for call, args in [
        (gemm, (a, b, None, 4, None, None)),
        (gemm_plain, (a, b, None, 4, None, None)),
        (gemm, (meta, b.to("meta"), None, 4, None, None)),
    ]:
        with pytest.raises(RuntimeError, match=r"strassen_gemm: levels must be 0 to 3, got 4"):
            call(*args)
    for call in (packed_gemm, packed_plain):
        with pytest.raises(
            RuntimeError, match=r"strassen_gemm_packed: packed must have 448 elements for n = 6"
        ):
            call(a, torch.zeros(5), None, 6, 1, None, None)
    with pytest.raises(ValueError, match='levels must be "auto" or 0 to 3'):
        gk.ops.strassen_gemm(a, b, levels="most")


@pytest.mark.parametrize("levels", [0, 1])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(levels, requires_grad):
    a, b, bias = (make(shape, 1).requires_grad_(requires_grad) for shape in ((5, 7), (6, 7), (6,)))
    torch.library.opcheck(gemm, (a, b, bias, levels, "relu", None))
    torch.library.opcheck(packed_gemm, (a, pack(b.detach(), levels), bias, 6, levels, "relu", None))
    torch.library.opcheck(pack, (b.detach(), levels))


def test_auto_of_a_small_product_is_no_level():
    a, b = make((3, 5, 7), 1), make((6, 7), 2)
    assert torch.equal(gk.ops.strassen_gemm(a, b, levels="auto"), gk.ops.strassen_gemm(a, b, levels=0))
    assert gk.ops.choose_levels(8192, 8192, 8192, torch.float64) == 0


def test_tuning_times_every_level():
    times = strassen_levels._time_levels(9, 8, 7, torch.float32)
    assert list(times) == list(LEVELS)
    assert min(times.values()) > 0


def test_auto_takes_what_was_measured_and_else_the_rule(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENKERNELS_CACHE", str(tmp_path))
    strassen_levels._read.cache_clear()
    assert [gk.ops.choose_levels(n, n, n) for n in (64, 2047, 2048, 8191, 8192)] == [0, 0, 1, 1, 2]
    assert gk.ops.choose_levels(4096, 4096, 64) == 0

    def seconds(*times):
        return lambda m, n, k, dtype: dict(enumerate(times))

    assert gk.ops.tune_levels(2048, 2048, 2048, time_levels=seconds(1.0, 0.9, 0.8, 1.2)) == 2
    assert gk.ops.tune_levels(4096, 4096, 4096, time_levels=seconds(1.0, 0.99, 1.1, 1.2)) == 0  # within noise
    assert [gk.ops.choose_levels(n, n, n) for n in (64, 2048, 4096)] == [0, 2, 0]
    assert gk.ops.choose_levels(2048, 2048, 2048, torch.bfloat16) == 1  # another key
    name, capability = "A GPU", (9, 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(major=capability[0], minor=capability[1]),
    )
    gpu = torch.device("cuda")
    assert [gk.ops.choose_levels(n, n, n, device=gpu) for n in (2048, 4095, 4096, 8192)] == [0, 0, 1, 2]
    tuned = gk.ops.tune_levels(2048, 2048, 2048, time_levels=seconds(1.0, 0.8, 0.9, 1.2), device="cuda")
    assert tuned == gk.ops.choose_levels(2048, 2048, 2048, device=gpu) == 1
    name, capability = "Another one", (8, 9)  # without HBM sums cost more
    assert [gk.ops.choose_levels(n, n, n, device=gpu) for n in (2048, 8192, 16384, 32768)] == [0, 0, 1, 2]
    assert gk.ops.choose_levels(2048, 2048, 2048) == 2  # that of the CPU stays

    (tmp_path / "strassen_gemm.json").write_text("{broken")
    strassen_levels._read.cache_clear()
    with pytest.warns(RuntimeWarning, match="cannot be read and is ignored"):
        assert gk.ops.choose_levels(2048, 2048, 2048) == 1
    strassen_levels._read.cache_clear()
