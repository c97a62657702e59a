"""A layer with what follows it, as the network runs it: what is built, timed, counted and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..ops import activation as activations
from .candidates import Chain, Options, Stem


@dataclass(frozen=True)
class Behind:
    """The stock modules of a chain.

    Attributes:
        norm: the batch norm, or None.
        adds: whether a map is added.
        activation: the last of it, or None.
    """

    norm: nn.Module | None = None
    adds: bool = False
    activation: nn.Module | None = None

    @classmethod
    def of(cls, model: nn.Module, chain: Chain | None) -> Behind:
        """Of the network that the names of the chain are from."""
        if chain is None:
            return cls()
        norm = None if chain.norm is None else model.get_submodule(chain.norm)
        return cls(norm, chain.adds, _activation(model, chain))

    def without(self, fused: Chain | None) -> Behind:
        """What is left where that much of it runs inside of the layer."""
        if fused is None:
            return self
        return Behind(
            None if fused.norm else self.norm,
            self.adds and not fused.adds,
            None if fused.activation else self.activation,
        )

    def __call__(self, out: Tensor, skip: Tensor | None = None, skip_scale: float = 1.0) -> Tensor:
        """What the chain makes of the output of its layer, which may be written to."""
        if self.norm is not None:
            out = self.norm(out)
        if self.adds and skip is not None:
            out = out.add_(skip, alpha=skip_scale)
        return out if self.activation is None else self.activation(out)


def _activation(model: nn.Module, chain: Chain) -> nn.Module | None:
    found = chain.activation
    if found is None:
        return None
    if found.slot:
        return model.get_submodule(found.slot)
    param = None if found.param is None else torch.tensor(found.param)
    return activations.to_module(found.kind, param)


def fused_part(chain: Chain | None, stem: Stem) -> Chain | None:
    """As much of a chain as runs inside of the kernels of a stem; None for nothing."""
    if chain is None:
        return None
    known = chain.activation is not None and chain.activation.kind in stem.activations
    part = chain if known else replace(chain, activation=None)
    if not stem.follows and (chain.norm or chain.adds or chain.container is not None):
        return None
    return part if part.norm or part.adds or part.activation else None


def build(
    stem: Stem, stock: nn.Module, options: Options, fused: Chain | None, norm: nn.Module | None
) -> nn.Module:
    """The stand-in for a layer, with that much of its chain; `norm` is the module that the chain names."""
    module = stem.build(stock, options, None if fused is None else fused.activation)
    if fused is not None and (fused.norm or fused.container is not None):
        module.follow(norm if fused.norm else None, deferred=fused.container is not None)
    return module


def join(layers: Sequence[nn.Module]) -> None:
    """Tell the last of the layers of a block which ones come before it."""
    *before, last = layers
    last.join(*[None] * (2 - len(before)), *before)


class LayerRun(nn.Module):
    """A layer and what follows it, run on the inputs of all calls of one forward of the network.

    Args:
        layer: stock, or its stand-in.
        behind: what follows.
        fused: how much of that the layer computes itself.
    """

    def __init__(self, layer: nn.Module, behind: Behind, fused: Chain | None = None) -> None:
        super().__init__()
        self.layer, self.fused, self.adds = layer, fused, behind.adds
        rest = behind.without(fused)
        self.norm, self.activation, self.adds_behind = rest.norm, rest.activation, rest.adds

    def run(self, inputs: list[Tensor], skips: list[Tensor]) -> list[Tensor]:
        """Outputs of all calls; `skips` is empty where nothing is added.

        Raises:
            RuntimeError: the layer ran torch's own kernel.
        """
        outputs = [self._call(x, skips[i] if skips else None) for i, x in enumerate(inputs)]
        fallbacks = getattr(self.layer, "fallbacks", None)
        if fallbacks:
            raise RuntimeError(f"runs torch's own kernel: {', '.join(fallbacks)}")
        return outputs

    def _call(self, x: Tensor, skip: Tensor | None) -> Tensor:
        rest = Behind(self.norm, self.adds_behind, self.activation)
        if self.fused is None or self.fused.container is None:
            return rest(self.layer(x), skip)
        within = [skip] if self.fused.adds and skip is not None else []
        return rest(self.layer(x, *within, fused=True), skip)
