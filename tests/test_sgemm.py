"""sgemm and matmul against float64: ragged sizes, every layout, option and instruction set; gradients."""

import pytest
import torch
from conv_cases import GUARD, make
from gemm_cases import SHAPES, assert_close, reference, tolerance

import greenkernels as gk
from greenkernels.ops import activation as activations
from greenkernels.ops import gemm_packing

LAYOUTS = {
    "row-major": lambda x: x,
    "transposed": lambda x: x.t().contiguous().t(),
    "strided": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "neither": lambda x: x.repeat_interleave(2, 1)[:, ::2] if x.numel() else x,
}


def operands(m, n, k, dtype=torch.float32):
    return make((m, k), 1, dtype), make((n, k), 2, dtype), make((n,), 3, dtype)


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_matches_float64(m, n, k, isa):
    a, b, bias = operands(m, n, k)
    expected, bound = reference(a, b, bias), tolerance(a, b, bias)
    assert_close(gk.ops.sgemm(a, b, bias), expected, bound)
    packed = gk.ops.sgemm_pack(b)
    assert_close(gk.ops.sgemm_packed(a, packed, bias, n=n), expected, bound)
    assert_close(gk.ops.sgemm(a.double(), b.double()), reference(a, b), tolerance(a.double(), b.double()))


@pytest.mark.parametrize("layout_b", LAYOUTS)
@pytest.mark.parametrize("layout_a", LAYOUTS)
def test_reads_operands_as_they_lie(layout_a, layout_b, isa):
    for m, n, k in [(17, 33, 70), (1, 5, 300), (40, 1, 3), (700, 70, 19)]:
        a, b, _ = operands(m, n, k)
        out = gk.ops.sgemm(LAYOUTS[layout_a](a), LAYOUTS[layout_b](b))
        assert_close(out, reference(a, b), tolerance(a, b), (m, n, k))


def test_packing_is_that_of_plain_torch_and_comes_back(isa):
    for n, k in [(1, 1), (16, 5), (17, 256), (33, 257), (100, 600), (0, 4), (4, 0)]:
        b = make((n, k), n)
        for x in (b, b.t().contiguous().t(), b.double()):
            packed = gk.ops.sgemm_pack(x)
            assert torch.equal(packed, gemm_packing.pack(x)) or packed.numel() == 0
            assert torch.equal(gk.ops.sgemm_unpack(packed, n, k), x)


@pytest.mark.parametrize("name", activations.NAMES)
def test_fuses_activations(name, isa):
    m, n, k = 19, 45, 300
    a, b, bias = operands(m, n, k)
    param = {"leaky_relu": make((1,), 4), "prelu": make((n,), 4)}.get(name)
    out = gk.ops.sgemm(a, b, bias, activation=name, activation_param=param)
    assert_close(out, reference(a, b, bias, name, param), tolerance(a, b, bias, name))


def test_adds_to_out_inside_of_a_larger_matrix(isa):
    m, n, k = 17, 37, 300
    a, b, bias = operands(m, n, k)
    for beta in (0.0, 1.0, -0.5):
        whole = torch.full((m + 2, n + 2 * GUARD), 7.0)
        out = whole[1:-1, GUARD:-GUARD]
        old = make((m, n), 5)
        out.copy_(old if beta else torch.full((m, n), float("nan")))  # with beta = 0 it must not be read
        assert gk.ops.sgemm(a, b, bias, beta=beta, out=out) is out
        expected = reference(a, b, bias) + (beta * old.double() if beta else 0.0)
        assert_close(out, expected, tolerance(a, b, bias) + torch.finfo(torch.float32).eps)
        whole[1:-1, GUARD:-GUARD] = 7.0
        assert (whole == 7.0).all()


def test_out_may_be_an_operand():
    a, b, _ = operands(20, 20, 20)
    expected, bound = reference(a, b), tolerance(a, b)
    assert_close(gk.ops.sgemm(a, b, out=a), expected, bound)


def test_small_integers_are_exact_and_nan_stays_in_its_row(isa):
    a, b = (torch.randint(-8, 9, (30, 400)).float() for _ in range(2))
    assert torch.equal(gk.ops.sgemm(a, b).double(), reference(a, b))
    a[3, 5] = float("nan")
    a[4, 6] = float("inf")
    out = gk.ops.sgemm(a, b)
    assert out[3].isnan().all()
    assert not out[4].isfinite().any()
    assert out[5:].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    a, b, bias = operands(9, 40, 300, dtype)
    out = gk.ops.sgemm(a, b, bias, activation="relu")
    assert out.dtype == dtype
    assert_close(out, reference(a, b, bias, "relu"), tolerance(a.float(), b.float(), bias, "relu"))


BATCHES = [
    ((7, 20), (20, 9)),
    ((3, 7, 20), (20, 9)),
    ((3, 7, 20), (3, 20, 9)),
    ((2, 1, 7, 20), (3, 20, 9)),
    ((20,), (20, 9)),
    ((2, 7, 20), (20,)),
    ((20,), (20,)),
    ((0, 7, 20), (20, 9)),
    ((64, 33, 20), (64, 20, 35)),
]


@pytest.mark.parametrize(("left", "right"), BATCHES)
def test_matmul_is_that_of_torch(left, right, isa):
    a, b = make(left, 1), make(right, 2)
    out = gk.ops.matmul(a, b)
    assert out.shape == torch.matmul(a, b).shape
    bound = 2.5 * torch.finfo(torch.float32).eps * 21**0.5 * 20  # entries are below 1: norms below sqrt(20)
    assert_close(out, torch.matmul(a.double(), b.double()), bound)


def test_threads_change_no_bit():
    a, b, _ = operands(150, 200, 300)
    threads = torch.get_num_threads()
    try:
        outs = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            outs.append(gk.ops.sgemm(a, b))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(outs[0], outs[1])
    assert torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("name", [None, "relu", "gelu", "leaky_relu", "prelu"])
def test_gradients_are_right_twice(name):
    a, b, bias = (x.requires_grad_() for x in operands(3, 4, 5, torch.float64))
    param = {"leaky_relu": make((1,), 4), "prelu": make((4,), 4)}.get(name)
    inputs = [a, b, bias] + ([] if param is None else [param.double().requires_grad_()])

    def call(a, b, bias, param=None):
        return gk.ops.sgemm(a, b, bias, activation=name, activation_param=param)

    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)
    packed = gk.ops.sgemm_pack(b.detach())
    for inputs_of_packed in ([a, bias, *inputs[3:]],):
        assert torch.autograd.gradcheck(
            lambda a, bias, param=None: gk.ops.sgemm_packed(
                a, packed, bias, n=4, activation=name, activation_param=param
            ),
            inputs_of_packed,
        )


def test_gradients_of_matmul_are_right_twice():
    a, b = (
        make((2, 1, 3, 4), 1, torch.float64).requires_grad_(),
        make((3, 4, 2), 2, torch.float64).requires_grad_(),
    )
    assert torch.autograd.gradcheck(gk.ops.matmul, (a, b))
    assert torch.autograd.gradgradcheck(gk.ops.matmul, (a, b))
