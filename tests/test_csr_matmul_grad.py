"""Gradients of csr_matmul: checked numerically in float64 on our own float64 kernels, and against the dense product."""

import pytest
import torch
from csr_cases import SHAPES, make

import greenkernels as gk
from greenkernels.ops.csr_matmul_op import transpose, transpose_plain, values_grad, values_grad_plain


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 2, 5)])
def test_gradcheck(shape):
    crow, col, values, _, bias, _ = make(3, 4, 5, 0.5, torch.float64)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    values.requires_grad_(), bias.requires_grad_()

    def function(values, x, bias):
        return gk.ops.csr_matmul(crow, col, values, x, bias=bias)

    assert torch.autograd.gradcheck(function, (values, x, bias))
    assert torch.autograd.gradgradcheck(function, (values, x, bias))


@pytest.mark.parametrize("batch", [1, 64])
def test_packed_gradcheck(batch):
    crow, col, values, x, bias, _ = make(3, 4, 5, 0.5, torch.float64)
    packed = gk.ops.csr_matmul_pack(crow, col, values, 5, batch=batch)

    def function(x, bias):
        sizes = {"out_features": 4, "nnz": values.numel(), "batch": batch}
        return gk.ops.csr_matmul_packed(x, packed, bias, **sizes)

    assert torch.autograd.gradcheck(function, (x.requires_grad_(), bias.requires_grad_()))


@pytest.mark.parametrize(("m", "n", "k", "density"), SHAPES)
def test_values_grad_matches_float64(m, n, k, density, isa):
    crow, col, values, x, _, _weight = make(m, n, k, density)
    grad = torch.randn(m, n)
    rows = torch.repeat_interleave(torch.arange(n), crow.diff())
    want = (grad.double().T @ x.double())[rows, col]
    # As in csr_cases: m terms of either sign, a random walk of roundings.
    squares = (grad.double().T.square() @ x.double().square())[rows, col]
    bound = 4 * torch.finfo(torch.float32).eps / 2 * (m + 2) ** 0.5 * squares.sqrt() + 1e-30
    for out in (values_grad(crow, col, grad, x), values_grad_plain(crow, col, grad, x)):
        assert out.shape == values.shape
        assert ((out - want).abs() <= bound).all()


@pytest.mark.parametrize(("n", "k", "density"), [shape[1:] for shape in SHAPES])
def test_transpose_is_that_of_torch(n, k, density):
    crow, col, values, _, _, weight = make(1, n, k, density)
    want = weight.T.contiguous().to_sparse_csr()
    for function in (transpose, transpose_plain):
        out_crow, out_col, order = function(crow, col, k)
        assert torch.equal(out_crow, want.crow_indices())
        assert torch.equal(out_col, want.col_indices())
        assert torch.equal(values[order], want.values())


@pytest.mark.parametrize("needed", [2, 3, 4])
def test_each_gradient_alone(needed):
    tensors = list(make(7, 20, 30, 0.3)[:5])
    weight = torch.sparse_csr_tensor(*tensors[:3], (20, 30)).to_dense()
    tensors[needed].requires_grad_()
    gk.ops.csr_matmul(*tensors[:4], bias=tensors[4]).square().sum().backward()
    x, bias = tensors[3].detach(), tensors[4].detach()
    dense = {2: weight, 3: x, 4: bias}[needed].requires_grad_()
    torch.nn.functional.linear(x, weight, bias).square().sum().backward()
    rows = torch.repeat_interleave(torch.arange(20), tensors[0].diff())
    want = dense.grad[rows, tensors[1]] if needed == 2 else dense.grad
    torch.testing.assert_close(tensors[needed].grad, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_in_half_precision_have_its_dtype(dtype):
    crow, col, values, x, bias, _ = make(20, 20, 30, 0.3, dtype)
    for tensor in (values, x, bias):
        tensor.requires_grad_()
    gk.ops.csr_matmul(crow, col, values, x, bias=bias).sum().backward()
    assert values.grad.dtype == x.grad.dtype == bias.grad.dtype == dtype
