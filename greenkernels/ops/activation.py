"""The activations of ``csrc/api/activation.h`` in plain torch, with their derivatives."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
}
_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
}
WITH_PARAM = ("leaky_relu", "prelu")  # the slope left of 0 is a tensor argument

NAMES = (
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "silu",
    "gelu",
    "sigmoid",
    "tanh",
    "hardswish",
    "hardsigmoid",
)

# What torch computes tanh with sets itself up on first use, and not safely so: where two threads meet there, one
# returned errors of 1e-4 for that call. Hence a first use by one thread.
for _dtype in (torch.float32, torch.float64):
    torch.tanh(torch.zeros(1, dtype=_dtype, device="cpu"))

# Their derivative is a function of the output, so that the backward pass need not compute their input again.
FROM_OUTPUT = ("relu", "relu6", "sigmoid", "tanh", "hardsigmoid")


def _silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    # aten::silu_backward has no derivative of its own.
    s = torch.sigmoid(x)
    return grad * (s + x * s * (1 - s))


_FROM_INPUT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "silu": _silu_backward,
    "gelu": torch.ops.aten.gelu_backward.default,
    "hardswish": torch.ops.aten.hardswish_backward.default,
}


def check_activation(name: str | None, param: Tensor | float | None) -> None:
    """Raises ValueError for an unknown name, and TypeError for a parameter that is neither number nor tensor."""
    if name is not None and name not in NAMES:
        raise ValueError(f"activation must be one of None, {', '.join(NAMES)}, got {name!r}")
    if param is not None and not isinstance(param, (Tensor, float, int)):
        raise TypeError(f"activation_param must be a Tensor, float or None, got {type(param).__name__}")


def param_as_tensor(param: Tensor | float | None, like: Tensor) -> Tensor | None:
    """The parameter as the ops take it: a number becomes a tensor of the dtype and device of ``like``."""
    return like.new_tensor([param]) if isinstance(param, (float, int)) else param


def _slopes(param: Tensor, like: Tensor) -> Tensor:
    """The slopes in a shape that broadcasts over the channels of a ``[batch, channels, h, w]`` map."""
    slopes = param.to(like.dtype).reshape(-1)
    return slopes if slopes.numel() == 1 else slopes.view(1, -1, 1, 1)


def apply(name: str | None, x: Tensor, param: Tensor | None) -> Tensor:
    """``activation(x)`` for a map ``x [batch, channels, h, w]``."""
    if name is None:
        return x
    if name in WITH_PARAM:
        return torch.where(x > 0, x, x * _slopes(param, x))
    return _FUNCTIONS[name](x)


def kind_of(module: nn.Module) -> str | None:
    """The name of an activation module without a parameter; None for any other module, subclasses included."""
    if type(module) is nn.GELU and module.approximate != "none":
        return None
    return next((name for name, kind in _MODULES.items() if type(module) is kind), None)


def to_module(name: str, param: Tensor | None) -> nn.Module:
    """The module of torch.nn for an activation; that of "prelu" holds ``param`` itself."""
    if name == "leaky_relu":
        return nn.LeakyReLU(param.item())
    if name == "prelu":
        module = nn.PReLU(param.numel(), device="meta")
        module.weight = param
        return module
    return _MODULES[name]()


def grad_from_output(name: str, grad: Tensor, out: Tensor) -> Tensor:
    """Gradient with respect to the input of an activation in ``FROM_OUTPUT``, given its output.

    The conditions are torch's: at a NaN, relu and relu6 pass the gradient and hardsigmoid cuts it.
    """
    if name == "relu":
        return torch.where(out <= 0, 0.0, grad)
    if name == "relu6":
        return torch.where((out <= 0) | (out >= 6), 0.0, grad)
    if name == "hardsigmoid":
        return torch.where((out > 0) & (out < 1), grad / 6, 0.0)
    return grad * out * (1 - out) if name == "sigmoid" else grad * (1 - out * out)


def grad_from_input(name: str, grad: Tensor, x: Tensor, param: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Gradients with respect to the input and the slopes of an activation not in ``FROM_OUTPUT``, given its input."""
    if name not in WITH_PARAM:
        return _FROM_INPUT[name](grad, x), None
    grad_x = torch.where(x > 0, grad, grad * _slopes(param, x))
    grad_slopes = torch.where(x > 0, 0.0, grad * x)
    total = grad_slopes.sum() if param.numel() == 1 else grad_slopes.sum((0, 2, 3))
    return grad_x, total.reshape(param.shape).to(param.dtype)
