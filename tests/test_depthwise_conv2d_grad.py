"""Gradients of depthwise_conv2d: checked numerically in float64 on our own float64 kernels, and against torch's."""

import pytest
import torch
import torch.nn.functional as F
from conv_cases import make

import greenkernels as gk
from greenkernels.ops import activation as activations

GEOMETRIES = [
    {"padding": 1},
    {"stride": (2, 1), "padding": (0, 2)},
    {"dilation": (1, 2), "padding": 2},
    {"stride": 2},
]


def inputs(dtype=torch.float64):
    tensors = [make((2, 4, 6, 7), 1, dtype), make((4, 1, 3, 3), 2, dtype), make((4,), 3, dtype)]
    return [x.requires_grad_() for x in tensors]


def param_of(name):
    if name not in activations.WITH_PARAM:
        return []
    return [make((1 if name == "leaky_relu" else 4,), 5, torch.float64).requires_grad_()]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", [None, "relu", "prelu", "silu", "gelu"])
def test_gradcheck(name, geometry):
    x, weight, bias = inputs()
    shape = gk.ops.depthwise_conv2d(x, weight, bias, **geometry).shape
    skip = make(tuple(shape), 4, torch.float64).requires_grad_()

    def function(x, weight, bias, skip, *params):
        options = {"activation": name, "activation_param": params[0] if params else None, "skip_scale": -0.5}
        return gk.ops.depthwise_conv2d(x, weight, bias, skip=skip, **geometry, **options)

    args = (x, weight, bias, skip, *param_of(name))
    assert torch.autograd.gradcheck(function, args, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, args, fast_mode=True)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", [None, "tanh", "prelu", "hardswish"])
def test_packed_gradcheck(name, geometry):
    x, weight, bias = inputs()
    packed = gk.ops.depthwise_conv2d_pack(weight)
    assert not packed.requires_grad

    def function(x, bias, *params):
        options = {"activation": name, "activation_param": params[0] if params else None}
        return gk.ops.depthwise_conv2d_packed(x, packed, bias, kernel_size=3, **geometry, **options)

    assert torch.autograd.gradcheck(function, (x, bias, *param_of(name)), fast_mode=True)


def test_packed_refuses_a_gradient_for_the_packed_weight():
    packed = gk.ops.depthwise_conv2d_pack(make((3, 1, 3, 3))).requires_grad_()
    with pytest.raises(RuntimeError, match="depthwise_conv2d_packed: packed must not require a gradient"):
        gk.ops.depthwise_conv2d_packed(make((1, 3, 4, 4)), packed, kernel_size=3)


@pytest.mark.parametrize("needed", range(3))
def test_each_gradient_alone(needed):
    tensors = [x.detach() for x in inputs()]
    tensors[needed].requires_grad_()
    gk.ops.depthwise_conv2d(*tensors, stride=2, padding=1, activation="silu").sum().backward()
    grad, tensors[needed].grad = tensors[needed].grad, None
    F.silu(F.conv2d(*tensors, 2, 1, 1, 4)).sum().backward()
    torch.testing.assert_close(grad, tensors[needed].grad)


def test_gradients_of_empty_maps():
    x, weight, bias = make((0, 3, 5, 5)), make((3, 1, 3, 3)), make((3,))
    tensors = [t.requires_grad_() for t in (x, weight, bias)]
    gk.ops.depthwise_conv2d(x, weight, bias, stride=2, activation="tanh").sum().backward()
    assert all(torch.equal(t.grad, torch.zeros_like(t)) for t in tensors)
