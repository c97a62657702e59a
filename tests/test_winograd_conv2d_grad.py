"""Gradients of winograd_conv2d: checked numerically in float64 on our own float64 kernels, and against torch's."""

import pytest
import torch
import torch.nn.functional as F
from winograd_cases import TILES, make

import greenkernels as gk
from greenkernels.ops import activation as activations

# Points next to a kink of relu6, leaky_relu, hardswish, ... would fail for torch's own functions too; these
# seeds hit none.
SMOOTH = ("silu", "gelu", "sigmoid", "tanh")


def inputs(dtype=torch.float64, requires_grad=True):
    tensors = [
        make((2, 3, 4, 5), 1, dtype),
        make((2, 3, 3, 3), 2, dtype),
        make((2,), 3, dtype),
        make((2, 2, 4, 5), 4, dtype),
    ]
    return [x.requires_grad_(requires_grad) for x in tensors]


def param_of(name, dtype=torch.float64):
    if name not in activations.WITH_PARAM:
        return None
    return make((1 if name == "leaky_relu" else 2,), 5, dtype).requires_grad_()


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("name", [None, *activations.NAMES])
def test_gradcheck(tile, name):
    param = param_of(name)

    def function(x, weight, bias, skip, *params):
        options = {
            "tile": tile,
            "activation": name,
            "activation_param": params[0] if params else None,
            "skip_scale": -0.5,
        }
        return gk.ops.winograd_conv2d(x, weight, bias, padding=1, skip=skip, **options)

    assert torch.autograd.gradcheck(
        function, (*inputs(), *([] if param is None else [param])), fast_mode=True
    )


@pytest.mark.parametrize("name", [None, "relu", "prelu", *SMOOTH])
def test_gradgradcheck(name):
    param = param_of(name)

    def function(x, weight, bias, skip, *params):
        options = {"activation": name, "activation_param": params[0] if params else None}
        return gk.ops.winograd_conv2d(x, weight, bias, padding=(1, 0), skip=skip[:, :, :, :3], **options)

    assert torch.autograd.gradgradcheck(
        function, (*inputs(), *([] if param is None else [param])), fast_mode=True
    )


@pytest.mark.parametrize("name", [None, "relu", "prelu", "gelu"])
def test_packed_gradcheck(name):
    x, weight, bias, skip = inputs()
    param, packed = param_of(name), gk.ops.winograd_conv2d_pack(weight)
    assert not packed.requires_grad

    def function(x, bias, skip, *params):
        options = {"activation": name, "activation_param": params[0] if params else None, "skip_scale": 2.0}
        return gk.ops.winograd_conv2d_packed(x, packed, bias, out_channels=2, padding=1, skip=skip, **options)

    args = (x, bias, skip, *([] if param is None else [param]))
    assert torch.autograd.gradcheck(function, args, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, args, fast_mode=True)


def test_packed_refuses_a_gradient_for_the_packed_weight():
    packed = gk.ops.winograd_conv2d_pack(make((2, 3, 3, 3))).requires_grad_()
    with pytest.raises(RuntimeError, match="winograd_conv2d_packed: packed must not require a gradient"):
        gk.ops.winograd_conv2d_packed(make((1, 3, 4, 4)), packed, out_channels=2)


@pytest.mark.parametrize("needed", range(4))
def test_each_gradient_alone(needed):
    tensors = inputs(requires_grad=False)
    tensors[needed].requires_grad_()
    x, weight, bias, skip = tensors
    gk.ops.winograd_conv2d(x, weight, bias, padding=1, skip=skip, activation="silu").sum().backward()
    grad, tensors[needed].grad = tensors[needed].grad, None
    F.silu(F.conv2d(x, weight, bias, padding=1) + skip).sum().backward()
    torch.testing.assert_close(grad, tensors[needed].grad)


@pytest.mark.parametrize(("shape", "padding"), [((0, 3, 5, 5), 1), ((1, 3, 0, 4), 2), ((1, 0, 5, 5), 1)])
def test_gradients_of_empty_maps(shape, padding):
    x, weight, bias = (
        make(shape).requires_grad_(),
        make((2, shape[1], 3, 3)).requires_grad_(),
        make((2,)).requires_grad_(),
    )
    out = gk.ops.winograd_conv2d(x, weight, bias, padding=padding, activation="tanh")
    out.sum().backward()
    assert x.grad.shape == x.shape
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    expected = (1 - bias.detach().tanh() ** 2) * out[:, 0].numel()
    torch.testing.assert_close(bias.grad, expected)


@pytest.mark.parametrize("name", ["relu", "relu6", "hardsigmoid"])
def test_nan_passes_the_gradient_as_in_torch(name):
    skip = torch.tensor([torch.nan, 1.0, -1.0, 7.0]).view(1, 1, 2, 2).requires_grad_()
    gk.ops.winograd_conv2d(
        torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 3, 3), padding=1, activation=name, skip=skip
    ).sum().backward()
    grad, skip.grad = skip.grad, None
    activations.apply(name, skip, None).sum().backward()
    torch.testing.assert_close(grad, skip.grad, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gradients(dtype):
    ours, theirs = inputs(dtype), inputs(dtype)
    x, weight, bias, skip = ours
    gk.ops.winograd_conv2d(x, weight, bias, padding=1, skip=skip, activation="relu").sum().backward()
    x, weight, bias, skip = theirs
    F.relu(F.conv2d(x, weight, bias, padding=1) + skip).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        # Sums of at most 40 terms below 1, rounded to the dtype once for the map and once for the sum.
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=40 * torch.finfo(dtype).eps)


def test_inputs_written_after_the_forward_are_noticed():
    x, weight = make((1, 2, 5, 5)), make((3, 2, 3, 3)).requires_grad_()
    out = gk.ops.winograd_conv2d(x, weight, padding=1)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_gradients_through_torch_func_and_forward_mode():
    x, weight = make((2, 3, 5, 5), 1), make((4, 3, 3, 3), 2)

    def ours(x, weight):
        return gk.ops.winograd_conv2d(x, weight, padding=1, activation="gelu").square().sum()

    def theirs(x, weight):
        return F.gelu(F.conv2d(x, weight, padding=1)).square().sum()

    for one, other in zip(
        torch.func.grad(ours, (0, 1))(x, weight), torch.func.grad(theirs, (0, 1))(x, weight), strict=True
    ):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(
        torch.func.jvp(lambda x: ours(x, weight), (x,), (x,)),
        torch.func.jvp(lambda x: theirs(x, weight), (x,), (x,)),
    )
    per_sample = torch.func.vmap(torch.func.grad(ours, 1), (0, None))(x.unsqueeze(1), weight)
    torch.testing.assert_close(
        per_sample, torch.func.vmap(torch.func.grad(theirs, 1), (0, None))(x.unsqueeze(1), weight)
    )
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        tangent = torch.autograd.forward_ad.unpack_dual(
            gk.ops.winograd_conv2d(dual, weight, padding=1)
        ).tangent
    torch.testing.assert_close(tangent, F.conv2d(x, weight, padding=1))  # the convolution is linear
