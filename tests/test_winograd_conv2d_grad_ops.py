"""The gradients of winograd_conv2d as ops: values against float64, layouts, registration, and who calls them."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from winograd_cases import AMPLIFICATION, COMPILE_BACKEND, FORMATS, TILES, assert_close, make, needs_kernels

import greenkernels as gk
from greenkernels.ops.winograd_conv2d_grad_op import (
    input_grad,
    input_grad_plain,
    weight_grad,
    weight_grad_plain,
)

# (batch, in_c, out_c, h, w, padding): smallest, odd, a tile and one more, more padding than map, one real layer.
SHAPES = [
    (1, 1, 1, 1, 1, (1, 1)),
    (2, 3, 5, 7, 5, (1, 1)),
    (1, 17, 33, 9, 13, (1, 0)),
    (3, 15, 31, 5, 6, (2, 2)),
    (1, 33, 16, 4, 21, (0, 1)),
    (2, 64, 48, 14, 14, (1, 1)),
    (1, 130, 170, 7, 7, (1, 1)),
]
EMPTY = [(0, 4, 4, 6, 6, (1, 1)), (1, 5, 0, 6, 6, (1, 1)), (1, 0, 5, 6, 6, (1, 1)), (1, 5, 4, 0, 3, (1, 1))]
# Of a weight gradient: as AMPLIFICATION in winograd_cases.py, from the matrices A, B^T and G^T in place of A^T, B^T, G.
WEIGHT_AMPLIFICATION = {2: 2.0, 4: 7.2}


def maps(batch, in_c, out_c, h, w, padding, dtype=torch.float32):
    """Input, gradient of the output, weight."""
    out = (batch, out_c, h + 2 * padding[0] - 2, w + 2 * padding[1] - 2)
    return make((batch, in_c, h, w), 1, dtype), make(out, 2, dtype), make((out_c, in_c, 3, 3), 3, dtype)


def reference(x, grad, weight, padding):
    """Both gradients in float64."""
    args = (grad.double(), x.double(), weight.double(), None, [1, 1], padding, [1, 1], False, [0, 0], 1)
    return torch.ops.aten.convolution_backward(*args, [True, True, False])[:2]


def bounds(x, grad, weight, tile):
    """The largest errors of both gradients that rounding explains, as in winograd_cases.tolerance.

    An element of the weight's gradient is a sum over the batch and the map of products of at most 1 in size.
    """
    eps = torch.finfo(torch.float64 if x.dtype == torch.float64 else torch.float32).eps
    filters = weight.double().transpose(0, 1).flatten(1).norm(dim=1).max().item()
    of_input = 2.5 * eps * (grad.shape[1] + 20) ** 0.5 * AMPLIFICATION[tile] * filters
    terms = grad.shape[0] * grad.shape[2] * grad.shape[3]
    of_weight = 2.5 * eps * (terms + 20) ** 0.5 * WEIGHT_AMPLIFICATION.get(tile, 0) * terms**0.5
    return of_input, of_weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_float64(shape, dtype, isa):
    padding = shape[-1]
    x, grad, weight = maps(*shape, dtype=dtype)
    grad_x, grad_weight = reference(x, grad, weight, padding)
    for tile, x_format, grad_format in itertools.product(TILES, FORMATS, FORMATS):
        x, grad = x.contiguous(memory_format=x_format), grad.contiguous(memory_format=grad_format)
        of_input, of_weight = bounds(x, grad, weight, tile)
        out = input_grad(grad, weight, padding, tile)
        assert out.dtype == dtype
        assert out.is_contiguous(memory_format=grad_format)
        assert_close(out, grad_x, torch.full_like(grad_x, of_input), ("input", tile))
        if tile in WEIGHT_AMPLIFICATION:
            out = weight_grad(x, grad, padding, tile)
            assert out.dtype == dtype
            assert out.is_contiguous()
            assert_close(out, grad_weight, torch.full_like(grad_weight, of_weight), ("weight", tile))


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_sums_of_no_terms_are_zero(shape):
    padding = shape[-1]
    x, grad, weight = maps(*shape)
    assert torch.equal(input_grad(grad, weight, padding, 4), torch.zeros_like(x))
    assert torch.equal(weight_grad(x, grad, padding, 4), torch.zeros_like(weight))


def test_any_strides():
    x, grad, weight = maps(2, 5, 3, 6, 7, (1, 1))
    wide = torch.stack([grad, grad], dim=-1)[..., 0]  # gaps
    one = torch.ones(()).expand(grad.shape)  # what sum().backward() passes on
    windows = x.flatten().as_strided(x.shape, (7, 11, 3, 2))  # overlapping
    for got, expected in (
        (input_grad(wide, weight, (1, 1), 4), input_grad(grad, weight, (1, 1), 4)),
        (input_grad(one, weight, (1, 1), 4), input_grad(one.contiguous(), weight, (1, 1), 4)),
        (input_grad(grad, weight.mT, (1, 1), 4), input_grad(grad, weight.mT.contiguous(), (1, 1), 4)),
        (weight_grad(windows, one, (1, 1), 4), weight_grad(windows.clone(), one.contiguous(), (1, 1), 4)),
    ):
        assert torch.equal(got, expected)


def test_padding_of_the_weight_gradient_has_no_limit():
    x, grad, weight = maps(1, 4, 6, 3, 5, (4, 3))
    _, expected = reference(x, grad, weight, (4, 3))
    torch.testing.assert_close(weight_grad(x, grad, (4, 3), 4).double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "channels", [(64, 64), (100, 150)], ids=str
)  # with sums of a thread's own, and shared
def test_same_threads_same_bits(channels):
    x, grad, _ = maps(4, *channels, 23, 17, (1, 1))
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            first = weight_grad(x, grad, (1, 1), 4)
            assert all(torch.equal(first, weight_grad(x, grad, (1, 1), 4)) for _ in range(3))
    finally:
        torch.set_num_threads(before)


X, GRAD, WEIGHT = maps(2, 8, 4, 5, 6, (1, 1))
WRONG_INPUT_GRAD = [
    ({"grad": GRAD[0]}, "grad must be 4-D, got shape [4, 5, 6]"),
    ({"grad": GRAD.long()}, "grad must be float16, bfloat16, float32 or float64, got int64"),
    ({"weight": WEIGHT[0]}, "weight must be 4-D, got shape [8, 3, 3]"),
    ({"weight": WEIGHT.double()}, "weight must be float32 as grad is, got float64"),
    (
        {"weight": WEIGHT[:3]},
        "weight must be [4, in_channels, 3, 3] for grad [2, 4, 5, 6], got [3, 8, 3, 3]",
    ),
    ({"padding": [3, 1]}, "padding must be two integers in [0, 2], got [3, 1]"),
    ({"padding": [1, 1, 1]}, "padding must be two integers in [0, 2], got [1, 1, 1]"),
    ({"tile": 3}, "tile must be 2, 4 or 6, got 3"),
    (
        {"grad": GRAD[:, :, :1], "padding": [2, 1]},
        "grad must be of an input of at least 0 x 0, got -1 x 6",
    ),
]
WRONG_WEIGHT_GRAD = [
    ({"input": X[0]}, "input must be 4-D, got shape [8, 5, 6]"),
    ({"input": X.int()}, "input must be float16, bfloat16, float32 or float64, got int32"),
    ({"grad": GRAD[0]}, "grad must be 4-D, got shape [4, 5, 6]"),
    ({"grad": GRAD.half()}, "grad must be float32 as input is, got float16"),
    ({"padding": [-1, 1]}, "padding must be two integers in [0, 2147483647], got [-1, 1]"),
    ({"padding": [0, 1]}, "grad must have shape [2, 4, 3, 6] for input [2, 8, 5, 6], got [2, 4, 5, 6]"),
    ({"input": X[:1]}, "grad must have shape [1, 4, 5, 6] for input [1, 8, 5, 6], got [2, 4, 5, 6]"),
    ({"tile": 6}, "tile must be 2 or 4, got 6"),
]


def check_messages(name, implementations, args, message):
    for implementation, on in implementations:
        with pytest.raises(RuntimeError) as caught:
            implementation(*(arg.to(on) if on and isinstance(arg, torch.Tensor) else arg for arg in args))
        assert str(caught.value) == f"{name}: {message}"


@pytest.mark.parametrize(("changes", "message"), WRONG_INPUT_GRAD, ids=lambda value: str(value)[:30])
def test_wrong_arguments_of_input_grad(changes, message):
    args = ({"grad": GRAD, "weight": WEIGHT, "padding": [1, 1], "tile": 4} | changes).values()
    implementations = ((input_grad, None), (input_grad, "meta"), (input_grad_plain, None))
    check_messages("winograd_conv2d_input_grad", implementations, args, message)


@pytest.mark.parametrize(("changes", "message"), WRONG_WEIGHT_GRAD, ids=lambda value: str(value)[:30])
def test_wrong_arguments_of_weight_grad(changes, message):
    args = ({"input": X, "grad": GRAD, "padding": [1, 1], "tile": 4} | changes).values()
    implementations = ((weight_grad, None), (weight_grad, "meta"), (weight_grad_plain, None))
    check_messages("winograd_conv2d_weight_grad", implementations, args, message)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_opcheck(memory_format, requires_grad):
    x, grad, weight = (t.contiguous(memory_format=memory_format) for t in maps(2, 3, 5, 6, 7, (1, 0)))
    for tensor in (x, grad, weight):
        tensor.requires_grad_(requires_grad)
    torch.library.opcheck(input_grad, (grad, weight, [1, 0], 6))
    torch.library.opcheck(weight_grad, (x, grad, [1, 0], 4))


@pytest.mark.parametrize("tile", [2, 4])
def test_gradients_of_the_gradients(tile):
    x, grad, weight = (t.requires_grad_() for t in maps(2, 2, 3, 4, 5, (1, 2), torch.float64))

    def of_input(grad, weight):
        return input_grad(grad, weight, (1, 2), tile)

    def of_weight(x, grad):
        return weight_grad(x, grad, (1, 2), tile)

    for function, args in ((of_input, (grad, weight)), (of_weight, (x, grad))):
        assert torch.autograd.gradcheck(function, args, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, args, fast_mode=True)


class Calls(TorchDispatchMode):
    """Names of the gradient ops that ran."""

    def __enter__(self):
        self.names = []
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[1]
        if name.endswith("_grad") or name == "convolution_backward":
            self.names.append(name.removeprefix("winograd_conv2d_"))
        return func(*args, **(kwargs or {}))


def calls_of_backward(x, weight, padding=1, tile=4):
    out = gk.ops.winograd_conv2d(x, weight, padding=padding, tile=tile)
    with Calls() as calls:
        out.backward(torch.ones_like(out))
    return sorted(calls.names)


@needs_kernels
@pytest.mark.parametrize("memory_format", FORMATS)
def test_backward_runs_the_kernels_where_they_pay(memory_format):
    x, _, weight = maps(4, 32, 32, 14, 14, (1, 1))
    x = x.contiguous(memory_format=memory_format)
    both = ["input_grad", "weight_grad"]
    assert calls_of_backward(x.requires_grad_(), weight.requires_grad_()) == both
    assert x.grad.is_contiguous(memory_format=memory_format)
    assert calls_of_backward(x.detach(), weight) == ["weight_grad"]
    assert calls_of_backward(x, weight.detach()) == ["input_grad"]
    # What the convolution behind the gradient of the input cannot pad is torch's.
    assert calls_of_backward(x, weight, padding=3) == ["convolution_backward", "weight_grad"]


@needs_kernels
def test_backward_is_torchs_where_kernels_do_not_pay():
    def calls(*shape, dtype=torch.float32, **options):
        x, _, weight = maps(*shape, (1, 1), dtype)
        return calls_of_backward(x.requires_grad_(), weight.requires_grad_(), **options)

    stock, both = ["convolution_backward"], ["input_grad", "weight_grad"]
    assert calls(2, 3, 32, 14, 14) == stock  # few channels
    assert calls(2, 32, 15, 14, 14) == stock
    assert calls(64, 32, 32, 1, 1) == stock  # small maps
    assert calls(1, 32, 32, 14, 14) == ["convolution_backward", "weight_grad"]  # 16 tiles
    assert calls(16, 32, 32, 14, 14, tile=6) == both
    assert calls(2, 3, 2, 4, 4, dtype=torch.float64) == both  # what gradient checks run


def loss_of(x, weight, bias, padding=1):
    return gk.ops.winograd_conv2d(x, weight, bias, padding=padding, activation="silu").square().sum()


def tensors(channels=(32, 48), requires_grad=True):
    x, _, weight = maps(5, *channels, 11, 10, (1, 1))
    return [t.requires_grad_(requires_grad) for t in (x, 0.1 * weight, make((channels[1],), 4))]


@pytest.mark.parametrize("padding", [0, 1, (2, 1), 3])
def test_gradients_are_those_of_torch(padding):
    ours, theirs = tensors(), tensors()
    loss_of(*ours, padding).backward()
    x, weight, bias = theirs
    F.silu(F.conv2d(x, weight, bias, padding=padding)).square().sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5 * other.grad.abs().max().item())


def test_compiled_gradients_match_eager():
    grads = []
    for function in (loss_of, torch.compile(loss_of, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)):
        args = tensors()
        grads.append(torch.autograd.grad(function(*args), args))
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)


def test_many_gradients_at_once():
    args = tensors()
    out = gk.ops.winograd_conv2d(*args, padding=1)
    grads = torch.stack([torch.ones_like(out), -torch.ones_like(out)])
    batched = torch.autograd.grad(out, args, grads, is_grads_batched=True, retain_graph=True)
    for got, expected in zip(batched, torch.autograd.grad(out, args, grads[0]), strict=True):
        torch.testing.assert_close(got[0], expected, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(got[1], -expected, rtol=1e-4, atol=1e-3)


def test_under_autocast_and_deterministic_algorithms():
    args = tensors()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(*args)
        loss.backward()  # inside of the region, as some training loops have it
    assert all(t.grad.dtype == torch.float32 for t in args)
    torch.use_deterministic_algorithms(True)
    try:
        again = tensors()
        loss_of(*again).backward()
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(args, again, strict=True):
        # bfloat16 keeps 8 bits of each of the values that a gradient sums up.
        assert (one.grad - other.grad).norm() <= 0.02 * other.grad.norm()
