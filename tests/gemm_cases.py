"""The float64 reference and the error bound that all tests of matrix products share."""

import torch
from torch import Tensor

from greenkernels.ops.gemm_ops import apply_activation

# (m, n, k): smallest, ragged, around the widths of a tile, a panel and a slice, no rows, no columns, no terms
SHAPES = [
    (1, 1, 1),
    (17, 33, 70),
    (14, 32, 256),
    (15, 47, 257),
    (3, 5, 600),
    (64, 100, 513),
    (1, 300, 300),
    (29, 1000, 17),
    (4, 67, 131),
    (2, 5000, 35),
    (0, 4, 8),
    (4, 0, 8),
    (5, 7, 0),
]


def reference(a: Tensor, b: Tensor, bias=None, activation=None, activation_param=None) -> Tensor:
    """The formula of csrc/api/sgemm.h in float64."""
    out = a.double() @ b.double().mT
    if bias is not None:
        out = out + bias.double()
    param = None if activation_param is None else torch.as_tensor(activation_param).double()
    return apply_activation(activation, out, param)


def tolerance(a: Tensor, b: Tensor, bias=None, activation=None) -> float:
    """The largest error that rounding explains.

    A product meets at most k + 1 roundings on its way into the sum, each of at most eps / 2 of a partial sum, whose
    size is at most norm of a row times norm of a row. Independent errors add up as their root mean square; 5 standard
    deviations cover the worst of all elements tested here.
    """
    eps = torch.finfo(torch.float64 if a.dtype == torch.float64 else torch.float32).eps
    size = 0.0
    if a.numel() and b.numel():
        size = (a.double().norm(dim=-1).max() * b.double().norm(dim=-1).max()).item()
    bound = 2.5 * eps * (a.shape[-1] + 1) ** 0.5 * size
    if bias is not None and bias.numel():
        bound += eps * (size + bias.double().abs().max().item())
    if activation is not None:  # slopes are at most 1.5; 8 eps cover the approximation of the function itself
        bound = 1.5 * bound + 8 * eps * max(1.0, size)
    return bound


def assert_close(out: Tensor, expected: Tensor, bound: float, label: object = "") -> None:
    assert out.shape == expected.shape, (label, out.shape, expected.shape)
    allowed = torch.full_like(expected, bound)
    if out.dtype in (torch.float16, torch.bfloat16):  # the result's own rounding
        allowed += torch.finfo(out.dtype).eps * expected.abs()
    error = (out.double() - expected).abs()
    assert (error <= allowed).all(), f"{label}: error {error.max().item():.3g} above the bound {bound:.3g}"
