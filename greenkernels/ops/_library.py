"""The op library ``torch.ops.greenkernels``: schemas are defined here in Python, C++ adds CPU kernels when it
is loaded.

An op whose compiled kernel is missing lands in its plain-torch implementation, which asks ``compiled`` first:
that builds the extension on first use, once. So an op with a compiled kernel pays nothing for any of this.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet
from torch.autograd import forward_ad

from .. import _build

NAMESPACE = "greenkernels"
DISABLED = os.environ.get("GREENKERNELS_DISABLE") == "1"  # read once: stock ops everywhere
LIBRARY = torch.library.Library(NAMESPACE, "DEF")

# Strides decide the memory format of an output, so the compiler must hand over those that the fake kernel
# saw.
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)


SCHEMAS: list[str] = []  # of every op


def define(schema: str) -> None:
    SCHEMAS.append(schema)
    LIBRARY.define(schema, tags=_TAGS)


# (op, whether for CUDA) that were seen to have a compiled kernel; it stays once it is there.
_compiled: set[tuple[str, bool]] = set()


def known_compiled(op: str, tensor: Tensor) -> bool:
    """Whether ``compiled`` was true before; for paths where a dispatcher lookup is too slow."""
    return (op, tensor.is_cuda) in _compiled


def compiled(op: str, tensor: Tensor) -> bool:
    """Whether ``op`` on ``tensor`` has a compiled kernel; loads or builds the extension if nothing did."""
    if not (tensor.is_cpu or tensor.is_cuda):
        return False
    if (op, tensor.is_cuda) not in _compiled:
        name, key = f"{NAMESPACE}::{op}", "CUDA" if tensor.is_cuda else "CPU"
        if not torch._C._dispatch_has_kernel_for_dispatch_key(name, key):
            _build.ensure_loaded()
        if torch._C._dispatch_has_kernel_for_dispatch_key(name, key):
            _compiled.add((op, tensor.is_cuda))
    return (op, tensor.is_cuda) in _compiled


def register_autocast(op: torch._ops.OpOverload, tensors: Sequence[int]) -> None:
    """Casts the arguments at the positions ``tensors`` to the autocast dtype, as torch does for convolutions."""
    for device in ("cpu", "cuda"):
        _register_autocast_on(op, tensors, device)


def _register_autocast_on(op: torch._ops.OpOverload, tensors: Sequence[int], device: str) -> None:
    key = "Autocast" + device.upper()

    def cast(value: Any, dtype: torch.dtype) -> Any:
        # float64 stays, and so does what lives on another device: the rule of torch's own autocast.
        eligible = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
        return value.to(dtype) if eligible and value.device.type == device else value

    def kernel(*args: Any) -> Any:
        dtype = torch.get_autocast_dtype(device)
        with torch._C._ExcludeDispatchKeyGuard(DispatchKeySet(getattr(DispatchKey, key))):
            return op(*(cast(arg, dtype) if i in tensors else arg for i, arg in enumerate(args)))

    LIBRARY.impl(op._schema.name.split("::")[1], kernel, key)


def register_autograd(
    op: torch._ops.OpOverload,
    setup: Callable[[Any, tuple[Any, ...], Tensor], None],
    backward: Callable[..., tuple[Any, ...]],
    plain: Callable[..., Tensor],
) -> None:
    """Registers the gradient of an op that returns one tensor.

    ``torch.library.register_autograd`` does the same for 30 us more a call. ``plain`` is a formula of torch's
    own ops for what ``torch.autograd.Function`` cannot do, forward-mode differentiation and the transforms of
    ``torch.func``.

    Args:
        op: The op.
        setup: ``setup(ctx, args, output)`` saves what the backward pass needs.
        backward: ``backward(ctx, needs, grad)`` returns a gradient for each argument; ``needs`` tells which
            are asked for.
        plain: ``plain(*args)``.
    """
    below_autograd = torch._C._after_autograd_keyset

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, keyset: DispatchKeySet, *args: Any) -> Tensor:
            with torch._C._AutoDispatchBelowAutograd():
                output = op.redispatch(keyset & below_autograd, *args)
            setup(ctx, args, output)
            return output

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
            return None, *backward(ctx, ctx.needs_input_grad[1:], grad)

    def kernel(keyset: DispatchKeySet, *args: Any) -> Tensor:
        if forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active():
            return plain(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            return Function.apply(keyset, *args)
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keyset & below_autograd, *args)

    LIBRARY.impl(op._schema.name.split("::")[1], kernel, "Autograd", with_keyset=True)


def register_chain(op: torch._ops.OpOverload, chain: Callable[..., Tensor]) -> None:
    """Registers the gradient of an op by ``chain(*args)``, which computes the same with differentiable ops."""
    below_autograd = torch._C._after_autograd_keyset

    def kernel(keyset: DispatchKeySet, *args: Any) -> Tensor:
        transformed = forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()
        if transformed or (torch.is_grad_enabled() and torch._C._any_requires_grad(*args)):
            return chain(*args)
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keyset & below_autograd, *args)

    LIBRARY.impl(op._schema.name.split("::")[1], kernel, "Autograd", with_keyset=True)


def register_refusal(op: torch._ops.OpOverload, why: str = "rounding to integers has no gradient") -> None:
    """Makes it an error to ask for a gradient of an op that has none, or only 0, which nobody asks for."""
    name = op._schema.name.split("::")[1]

    def kernel(keyset: DispatchKeySet, *args: Any) -> Tensor:
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            raise RuntimeError(f"{name}: {why}, but an argument requires grad")
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keyset & torch._C._after_autograd_keyset, *args)

    LIBRARY.impl(name, kernel, "Autograd", with_keyset=True)


def register_out(op: torch._ops.OpOverload) -> None:
    """What torch does for its own ``out=`` variants: refuse gradients, count the write in ``out._version``."""
    name = op._schema.name.split("::")[1]

    def kernel(keyset: DispatchKeySet, *args: Any, out: Tensor) -> None:
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args, out):
            raise RuntimeError(
                f"{name}: functions with out=... arguments don't support automatic differentiation, "
                "but one of the arguments requires grad"
            )
        torch.autograd.graph.increment_version(out)
        op.redispatch(keyset & torch._C._after_ADInplaceOrView_keyset, *args, out=out)

    LIBRARY.impl(f"{name}.out", kernel, "ADInplaceOrView", with_keyset=True)


def register_plain(op: str, implementation: Callable[..., Any]) -> None:
    """Registers the plain-torch implementation, for every device without a kernel of its own."""
    LIBRARY.impl(op, implementation, "CompositeExplicitAutograd")


def register(op: torch._ops.OpOverload, plain: Callable[..., Any], fake: Callable[..., Any]) -> None:
    """Registers the fake kernel of an op that may be compiled, and ``plain`` for where no kernel is."""
    stem, overload = op._schema.name.split("::")[1], op._schema.overload_name
    name = f"{stem}.{overload}" if overload else stem

    def kernel(first: Tensor, *args: Any, **out: Tensor) -> Any:
        return op(first, *args, **out) if compiled(stem, first) else plain(first, *args, **out)

    register_plain(name, kernel)
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake)


define("set_isa(str level) -> str")
define("isa_levels() -> str")
define("current_isa() -> str")
define("vnni() -> bool")
define("set_vnni(bool allowed) -> bool")
define("cuda_architectures() -> str")
