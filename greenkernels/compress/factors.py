"""The weight of a layer as a product of smaller ones: low-rank, Tucker, bottleneck and depthwise-separable forms.

Each form starts from the weight itself: at its largest ranks it computes what the layer did, below that it is the best
approximation of its kind, or near to it, in the sum of squares of the weight. Sources: Denton et al., "Exploiting
Linear Structure Within Convolutional Networks for Efficient Evaluation", NIPS 2014 (low rank); Kim et al., "Compression
of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications", ICLR 2016 (Tucker); Guo et al.,
"Network Decoupling: From Regular to Depthwise Separable Convolutions", BMVC 2018 (depthwise).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from ..nn.conversion import check_stock, conv_arguments

SWEEPS = 3  # of Tucker's alternating projections; more move the error by less than 1 % of itself
Ranks = tuple[int, ...]


class Factored(nn.Sequential):
    """Stock layers, one after the other, that stand in for one layer.

    Attributes:
        form: one of `FORMS`.
        ranks: of the form: (r,), for Tucker (inputs, outputs).
        weight_error: ``||W' - W|| / ||W||`` of the weight that the layers together had when they were made.
    """

    def __init__(self, *layers: nn.Module, form: str, ranks: Ranks, weight_error: float) -> None:
        super().__init__(*layers)
        self.form, self.ranks, self.weight_error = form, ranks, weight_error

    def extra_repr(self) -> str:
        """Form, ranks and error."""
        return f"form={self.form}, ranks={self.ranks}, weight_error={self.weight_error:.3g}"


class Form(NamedTuple):
    """How a layer can be factored.

    Attributes:
        largest: layer -> ranks at which nothing is lost; raises ValueError for a layer that has no such form.
        decompose: layer -> a function from ranks to what stands in for it; what all ranks share is done once.
    """

    largest: Callable[[nn.Module], Ranks]
    decompose: Callable[[nn.Module], Callable[[Ranks], Factored]]


def factor(layer: nn.Module, form: str, ranks: int | Ranks) -> Factored:
    """One layer as a chain of smaller ones.

    Args:
        layer: an ``nn.Linear``, or an ``nn.Conv2d`` without groups.
        form: "low-rank" (a filter of the same size to ``r`` channels, then a 1x1 to all; for a Linear two of them),
            "tucker" (1x1 to ``ranks[0]`` channels, the filter to ``ranks[1]``, 1x1 to all), "bottleneck" (the same with
            equal ranks) or "depthwise" (``r`` filters for each channel, then a 1x1).
        ranks: 1 to the largest that lose nothing; an int where the form has one rank.

    Raises:
        ValueError: no such form, not for this layer, or ranks out of range.
    """
    if form not in FORMS:
        raise ValueError(f"factor: form must be one of {', '.join(FORMS)}, got {form!r}")
    wanted = (ranks,) if isinstance(ranks, int) else tuple(ranks)
    largest = FORMS[form].largest(layer)
    if len(wanted) != len(largest) or not all(
        1 <= r <= most for r, most in zip(wanted, largest, strict=True)
    ):
        raise ValueError(f"factor: ranks of {form} must be 1 to {largest}, got {wanted}")
    return FORMS[form].decompose(layer)(wanted)


def _check(layer: nn.Module) -> None:
    check_stock(layer, nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear)
    if isinstance(layer, nn.Conv2d) and layer.groups != 1:
        raise ValueError(f"groups must be 1, got groups={layer.groups}")
    if not layer.weight.is_floating_point() or layer.weight.numel() == 0:
        raise ValueError(f"weight must be floating-point and not empty, got {tuple(layer.weight.shape)}")


def _check_filter(layer: nn.Module) -> None:
    _check(layer)
    if not isinstance(layer, nn.Conv2d) or layer.weight[0, 0].numel() == 1:
        raise ValueError(f"layer must be a convolution with a filter larger than 1x1, got {layer}")


def _exact(layer: nn.Module) -> Tensor:
    return layer.weight.detach().double()


def _error(lost: Tensor | float, weight: Tensor) -> float:
    """From sums of squares; rounding can make nothing a little less than nothing."""
    whole = float(weight.square().sum())
    return (max(0.0, float(lost)) / whole) ** 0.5 if whole else 0.0


def _chain(like: nn.Module, *layers: nn.Module, form: str, ranks: Ranks, weight_error: float) -> Factored:
    return Factored(*layers, form=form, ranks=ranks, weight_error=weight_error).train(like.training)


def _fill(layer: nn.Module, weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def _where(like: nn.Module) -> dict[str, Any]:
    return {"dtype": like.weight.dtype, "device": like.weight.device}


def _conv(like: nn.Conv2d, weight: Tensor, groups: int = 1) -> nn.Module:
    """With the filter, stride and padding of ``like``, without bias."""
    made = conv_arguments(like) | {"groups": groups, "bias": False} | _where(like)
    made |= {"in_channels": weight.shape[1] * groups, "out_channels": weight.shape[0]}
    return _fill(skip_init(nn.Conv2d, **made), weight)


def _mix(like: nn.Module, weight: Tensor, last: bool) -> nn.Module:
    """``weight [outputs, inputs]`` as a Linear or 1x1 convolution; the last one has the bias."""
    bias = like.bias.detach() if last and like.bias is not None else None
    (n, k), where = weight.shape, _where(like)
    if isinstance(like, nn.Linear):
        return _fill(skip_init(nn.Linear, k, n, bias is not None, **where), weight, bias)
    return _fill(skip_init(nn.Conv2d, k, n, 1, bias=bias is not None, **where), weight, bias)


def _low_rank_largest(layer: nn.Module) -> Ranks:
    _check(layer)
    return (min(layer.weight.flatten(1).shape),)


def _low_rank(layer: nn.Module) -> Callable[[Ranks], Factored]:
    weight = _exact(layer)
    u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)

    def build(ranks: Ranks) -> Factored:
        (r,) = ranks
        root = s[:r].sqrt()  # half of the size in each factor, so that both train at the same rate
        inner, outer = root[:, None] * v[:r], u[:, :r] * root
        if isinstance(layer, nn.Linear):
            first = _mix(layer, inner, last=False)
        else:
            first = _conv(layer, inner.reshape(r, *weight.shape[1:]))
        error = _error(s[r:].square().sum(), weight)
        return _chain(
            layer, first, _mix(layer, outer, last=True), form="low-rank", ranks=ranks, weight_error=error
        )

    return build


def _tucker_largest(layer: nn.Module) -> Ranks:
    _check_filter(layer)
    n, c = layer.weight.shape[:2]
    rest = layer.weight[0, 0].numel()
    return min(c, n * rest), min(n, c * rest)


def _tucker(layer: nn.Module, form: str = "tucker") -> Callable[[Ranks], Factored]:
    """Alternating projections (HOOI) on inputs and outputs, the filter's places left as they are."""
    weight = _exact(layer)

    def build(ranks: Ranks) -> Factored:
        inputs, outputs = ranks[0], ranks[-1]
        u_in = _leading(weight.transpose(0, 1), inputs)
        for _ in range(SWEEPS):
            u_out = _leading(torch.einsum("nchw,cr->nrhw", weight, u_in), outputs)
            u_in = _leading(torch.einsum("nchw,ns->cshw", weight, u_out), inputs)
        core = torch.einsum("nchw,cr,ns->srhw", weight, u_in, u_out)
        error = _error(weight.square().sum() - core.square().sum(), weight)  # the projections are orthogonal
        made = _mix(layer, u_in.T, last=False), _conv(layer, core), _mix(layer, u_out, last=True)
        return _chain(layer, *made, form=form, ranks=ranks, weight_error=error)

    return build


def _leading(tensor: Tensor, rank: int) -> Tensor:
    """``[size, rank]``: left singular vectors of the tensor seen as a matrix of its first dimension."""
    matrix = tensor.flatten(1)
    return torch.linalg.eigh(matrix @ matrix.T).eigenvectors[:, -rank:]  # in float64; sizes rise to the right


def _bottleneck_largest(layer: nn.Module) -> Ranks:
    return (max(_tucker_largest(layer)),)


def _bottleneck(layer: nn.Module) -> Callable[[Ranks], Factored]:
    return _tucker(layer, "bottleneck")


def _depthwise_largest(layer: nn.Module) -> Ranks:
    _check_filter(layer)
    return (min(layer.weight.shape[0], layer.weight[0, 0].numel()),)


def _depthwise(layer: nn.Module) -> Callable[[Ranks], Factored]:
    weight = _exact(layer)
    n, c, h, w = weight.shape
    u, s, v = torch.linalg.svd(
        weight.transpose(0, 1).flatten(2), full_matrices=False
    )  # for each input channel

    def build(ranks: Ranks) -> Factored:
        (r,) = ranks
        root = s[:, :r].sqrt()
        filters = (root[:, :, None] * v[:, :r]).reshape(c * r, 1, h, w)
        mixed = (u[:, :, :r] * root[:, None]).permute(1, 0, 2).reshape(n, c * r)
        error = _error(s[:, r:].square().sum(), weight)
        made = _conv(layer, filters, groups=c), _mix(layer, mixed, last=True)
        return _chain(layer, *made, form="depthwise", ranks=ranks, weight_error=error)

    return build


FORMS = {
    "low-rank": Form(_low_rank_largest, _low_rank),
    "tucker": Form(_tucker_largest, _tucker),
    "bottleneck": Form(_bottleneck_largest, _bottleneck),
    "depthwise": Form(_depthwise_largest, _depthwise),
}
