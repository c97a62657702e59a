"""What can be done to one layer, by name: zeros, bits, a form, a kernel; for `sensitivity` and `search`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from torch import nn

from .conversion import to_sparse
from .factors import FORMS, factor
from .layers import apply_masks
from .pruning import prune
from .quantization import finish_shared, quantize, share

Method = Callable[[nn.Module, str], None]
METHODS = (
    "prune 0.5",
    "prune 0.8",
    "prune 0.9",
    "int8",
    "int4",
    "codebook 2",
    "low-rank 0.5",
    "low-rank 0.25",
)
KERNELS = ("_conv2d", "_gemm", "_matmul")  # how names of kernels end


def methods_of(methods: Iterable[str] | Mapping[str, Method]) -> dict[str, Method]:
    """Name -> function. Raises ValueError for a name that is no method."""
    return dict(methods) if isinstance(methods, Mapping) else {name: _method(name) for name in methods}


def compressed(model: nn.Module, layer: str, method: Method) -> nn.Module:
    """The network, in place, or what stands in for it if it is the layer itself."""
    whole = nn.Sequential(model)  # so that a network of one layer has a parent, too
    method(whole, f"0.{layer}" if layer else "0")
    return whole[0]


def _method(name: str) -> Method:
    kind, _, amount = name.partition(" ")
    if name in FEW_BITS:
        return FEW_BITS[name]
    if kind.endswith(KERNELS):
        return _on_kernel(kind, amount)
    try:
        share = float(amount)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1 or (kind not in ("prune", "sparse") and kind not in FORMS):
        raise ValueError(
            f"sensitivity: methods must be 'prune S', 'sparse S', one of {', '.join(FEW_BITS)}, one of "
            f"{', '.join(FORMS)} with a share, or a kernel, got {name!r}"
        )
    if kind == "prune":
        return lambda model, layer: apply_masks(prune(model, share, layers=[layer])) and None
    if kind == "sparse":
        return lambda model, layer: _sparse(model, layer, share)
    return lambda model, layer: _factored(model, layer, kind, share)


def _sparse(model: nn.Module, layer: str, share: float) -> None:
    prune(model, share, layers=[layer])
    put(model, layer, to_sparse(model.get_submodule(layer), at_least=0.0, warn=False))


def _on_kernel(name: str, option: str) -> Method:
    """The layer as it is on another kernel, "STEM" or "STEM tile=4"."""
    from ..planning.candidates import named  # planning costs more time to import than most methods take

    stem, (key, _, value) = named(name), option.partition("=")

    def method(model: nn.Module, layer: str) -> None:
        module = model.get_submodule(layer)
        if type(module) is not stem.replaces:
            raise ValueError(
                f"{name} stands in for {stem.replaces.__name__}, not for {type(module).__name__}"
            )
        why = stem.refuses(module)
        chosen = (
            [o for o in stem.options(module) if not option or str(o.get(key)) == value] if not why else []
        )
        if not chosen:
            raise ValueError(why or f"{name} has no {option!r} for this layer")
        put(model, layer, stem.build(module, chosen[0], None))

    return method


def _factored(model: nn.Module, layer: str, form: str, share: float) -> None:
    module = model.get_submodule(layer)
    largest = FORMS[form].largest(module)
    put(model, layer, factor(module, form, tuple(max(1, round(share * most)) for most in largest)))


def _rounded(bits: int) -> Method:
    def method(model: nn.Module, layer: str) -> None:
        put(model, layer, quantize(model.get_submodule(layer), bits))

    return method


def _shared(bits: int) -> Method:
    def method(model: nn.Module, layer: str) -> None:
        put(model, layer, finish_shared(share(model.get_submodule(layer), bits)))

    return method


FEW_BITS: dict[str, Method] = {
    "int8": _rounded(8),
    "int4": _rounded(4),
    "codebook 4": _shared(4),
    "codebook 2": _shared(2),
}


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """A module in the place of the one of that name."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
