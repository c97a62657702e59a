"""Matrix products with bias and activation fused, as ops of torch: what all stems of that kind share.

The op of a stem takes ``(a, b, bias, *options, activation, activation_param)``, its packed variant ``(a, packed, bias,
n, *options, ...)`` and the op that packs ``(b, *options)``. What *options* are is up to the stem.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import _library
from . import activation as activations
from .conv2d_checks import compute_dtype
from .gemm_checks import check_a, check_b, check_epilogue, check_pack, check_packed_b

EPILOGUE = "str? activation, Tensor? activation_param"


@dataclass(frozen=True)
class Stem:
    """What makes one stem.

    Attributes:
        name: of the op.
        options: schema of these arguments, with a comma behind each; or "".
        count: how many they are.
        pack_plain: ``pack_plain(b, *options)`` in plain torch.
        packed_size: ``packed_size(n, k, *options)``, elements of the packed weight.
        unpack: ``unpack(packed, n, k, *options)``, the weight again.
        check: ``check(op, *options)``.
    """

    name: str
    options: str
    count: int
    pack_plain: Callable[..., Tensor]
    packed_size: Callable[..., int]
    unpack: Callable[..., Tensor]
    check: Callable[..., None] = lambda op, *options: None


def apply_activation(name: str | None, x: Tensor, param: Tensor | None) -> Tensor:
    """``activation(x)`` of ``x [m, n]``, whose columns are what slopes go with."""
    return x if name is None else activations.apply(name, x[:, :, None, None], param)[:, :, 0, 0]


def checked(check: Callable[..., Any], op: Callable[..., Any]) -> Callable[..., Any]:
    """``op`` after ``check`` of the same arguments."""

    def run(*args: Any, **out: Tensor) -> Any:
        check(*args, **out)
        return op(*args, **out)

    return run


class ProductOp:
    """The op of one name, defined and registered; an attribute is bound once, since a lookup costs over 1 us.

    Args:
        name: of the op.
        options: as in ``Stem``.
        count: as in ``Stem``.
        instead: op of the same schema that computes where this one has no kernel, after the checks of this one; None
            for plain torch.
    """

    def __init__(
        self, name: str, options: str = "", count: int = 0, instead: Callable[..., Tensor] | None = None
    ) -> None:
        self._gemm = name
        _library.define(f"{name}(Tensor a, Tensor b, Tensor? bias, {options}{EPILOGUE}) -> Tensor")
        self.gemm = getattr(torch.ops.greenkernels, name).default
        elsewhere = self.gemm_plain if instead is None else checked(self._check_gemm, instead)
        _library.register(self.gemm, elsewhere, self._gemm_fake)
        _library.register_autograd(self.gemm, self._setup, self._backward, self.gemm_plain)
        _library.register_autocast(self.gemm, tensors=(0, 1, 2, 3 + count + 1))

    def _check_gemm(self, a: Tensor, b: Tensor, bias: Tensor | None, *args: Any) -> None:
        *options, activation, param = args
        check_a(self._gemm, a)
        check_b(self._gemm, a, b)
        self._check_options(self._gemm, *options)
        check_epilogue(self._gemm, a, b.shape[0], bias, activation, param)

    def _check_options(self, op: str, *options: Any) -> None:
        pass

    # Plain torch: what runs where no kernel is compiled, and on other devices.

    def gemm_plain(self, a: Tensor, b: Tensor, bias: Tensor | None, *args: Any) -> Tensor:
        """The op in torch's own ops, every one of them differentiable in every mode."""
        self._check_gemm(a, b, bias, *args)
        dtype = compute_dtype(a)
        out = a.to(dtype) @ b.to(dtype).t()
        if bias is not None:
            out = out + bias.to(dtype)
        return apply_activation(args[-2], out, args[-1]).to(a.dtype).contiguous()

    def _gemm_fake(self, a: Tensor, b: Tensor, *args: Any) -> Tensor:
        self._check_gemm(a, b, *args)
        return a.new_empty(a.shape[0], b.shape[0])

    # Gradients: products of the same kind, on views of the operands, which the kernels read either way round.

    def _through_activation(
        self,
        ctx: Any,
        grad: Tensor,
        param: Tensor | None,
        output: Tensor | None,
        recompute: Callable[[], Tensor],
    ) -> tuple[Tensor, Tensor | None]:
        if ctx.activation is None:
            return grad, None
        if output is not None:
            return activations.grad_from_output(ctx.activation, grad, output), None
        grad, grad_param = activations.grad_from_input(
            ctx.activation, grad[:, :, None, None], recompute()[:, :, None, None], param
        )
        return grad[:, :, 0, 0], grad_param

    def _setup(self, ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
        a, b, bias, *rest, ctx.activation, param = args
        ctx.rest = rest
        from_output = ctx.activation in activations.FROM_OUTPUT
        from_input = ctx.activation is not None and not from_output
        ctx.save_for_backward(a, b, param, bias if from_input else None, output if from_output else None)

    def _backward(self, ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
        product = self.gemm
        a, b, param, bias, output = ctx.saved_tensors
        grad, grad_param = self._through_activation(
            ctx, grad, param, output, lambda: product(a, b, bias, *ctx.rest, None, None)
        )
        grad_a = product(grad, b.t(), None, *ctx.rest, None, None) if needs[0] else None
        grad_b = product(grad.t(), a.t(), None, *ctx.rest, None, None) if needs[1] else None
        grad_bias = grad.sum(0) if needs[2] else None
        return (
            grad_a,
            grad_b,
            grad_bias,
            *(None,) * (len(ctx.rest) + 1),
            grad_param if needs[-1] else None,
        )


class GemmOps(ProductOp):
    """The ops of one stem: the product, with a packed weight, packing."""

    def __init__(self, stem: Stem) -> None:
        self.stem = stem
        super().__init__(stem.name, stem.options, stem.count)
        self._packed, self._pack = f"{stem.name}_packed", f"{stem.name}_pack"
        _library.define(
            f"{self._packed}(Tensor a, Tensor packed, Tensor? bias, SymInt n, {stem.options}{EPILOGUE}) -> Tensor"
        )
        _library.define(
            f"{self._pack}(Tensor b{', ' + stem.options.rstrip(', ') if stem.options else ''}) -> Tensor"
        )
        ops = torch.ops.greenkernels
        self.packed_gemm = getattr(ops, self._packed).default
        self.pack = getattr(ops, self._pack).default
        _library.register(self.packed_gemm, self.packed_plain, self._packed_fake)
        _library.register(self.pack, self._pack_plain, self._pack_fake)
        self._register_gradients()

    def _check_options(self, op: str, *options: Any) -> None:
        self.stem.check(op, *options)

    def _check_packed(self, a: Tensor, packed: Tensor, bias: Tensor | None, n: int, *args: Any) -> None:
        *options, activation, param = args
        check_a(self._packed, a)
        self.stem.check(self._packed, *options)
        check_packed_b(self._packed, a, packed, n, self.stem.packed_size(n, a.shape[1], *options))
        check_epilogue(self._packed, a, n, bias, activation, param)

    def packed_plain(self, a: Tensor, packed: Tensor, bias: Tensor | None, n: int, *args: Any) -> Tensor:
        """The packed variant in torch's own ops."""
        self._check_packed(a, packed, bias, n, *args)
        b = self.stem.unpack(packed, n, a.shape[1], *args[:-2])
        return self.gemm_plain(a, b.to(a.dtype), bias, *args)

    def _pack_plain(self, b: Tensor, *options: Any) -> Tensor:
        check_pack(self._pack, b)
        self.stem.check(self._pack, *options)
        return self.stem.pack_plain(b, *options)

    # Fake kernels: shapes only, for torch.compile and torch.export.

    def _packed_fake(self, a: Tensor, packed: Tensor, bias: Tensor | None, n: int, *args: Any) -> Tensor:
        self._check_packed(a, packed, bias, n, *args)
        return a.new_empty(a.shape[0], n)

    def _pack_fake(self, b: Tensor, *options: Any) -> Tensor:
        check_pack(self._pack, b)
        self.stem.check(self._pack, *options)
        size = self.stem.packed_size(*b.shape, *options)
        return torch.empty(size, dtype=compute_dtype(b), device=b.device)

    def _register_gradients(self) -> None:
        product = self.gemm

        def setup_packed(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
            if args[1].requires_grad:
                raise RuntimeError(
                    f"{self._packed}: packed must not require a gradient, got requires_grad=True; "
                    f"train with {self._gemm}"
                )
            self._setup(ctx, args, output)

        def backward_packed(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
            a, packed, param, bias, output = ctx.saved_tensors
            n, *options = ctx.rest
            grad, grad_param = self._through_activation(
                ctx, grad, param, output, lambda: self.packed_gemm(a, packed, bias, n, *options, None, None)
            )
            grad_a = None
            if needs[0]:
                b = self.stem.unpack(packed, n, a.shape[1], *options).to(a.dtype)
                grad_a = product(grad, b.t(), None, *options, None, None)
            grad_bias = grad.sum(0) if needs[2] else None
            return grad_a, None, grad_bias, *(None,) * (len(ctx.rest) + 1), grad_param if needs[-1] else None

        def setup_pack(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
            ctx.mark_non_differentiable(output)

        def backward_pack(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[None, ...]:
            return (None,) * len(needs)

        _library.register_autograd(self.packed_gemm, setup_packed, backward_packed, self.packed_plain)
        _library.register_autograd(self.pack, setup_pack, backward_pack, self.stem.pack_plain)
        last = 3 + self.stem.count + 1  # activation_param
        _library.register_autocast(self.packed_gemm, tensors=(0, 2, last + 1))  # packed stays float32
