"""Checks that the ops on quantized matrices share; the twin of ``csrc/ops/quantized_checks.h``, in the same words."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import activation as activations
from .conv2d_checks import dtype_name, fail, shape_text


class Like(NamedTuple):
    """The argument that others of a call have to go with."""

    op: str
    name: str
    tensor: Tensor


def check_vector(
    like: Like,
    name: str,
    vector: Tensor | None,
    one_fits: bool,
    most: int,
    dtype: torch.dtype = torch.float32,
) -> None:
    """One of the vectors beside it: with 1 or ``most`` elements, or with ``most`` alone; or none."""
    if vector is None:
        return
    op, device = like.op, like.tensor.device
    if vector.dim() != 1:
        fail(op, f"{name} must be 1-D, got shape {shape_text(vector.shape)}")
    if vector.dtype != dtype:
        fail(op, f"{name} must be {dtype_name(dtype)}, got {dtype_name(vector.dtype)}")
    if vector.device != device:
        fail(op, f"{name} must be on the device of {like.name}, {device}, got {vector.device}")
    if vector.shape[0] != most and not (one_fits and vector.shape[0] == 1):
        fail(op, f"{name} must have {'1 or ' if one_fits else ''}{most} elements, got {vector.shape[0]}")


def check_out_quantizer(op: str, scale: float | None, zero_point: int) -> None:
    """How the output becomes 8-bit integers, if it does."""
    if scale is not None and not 2.0**-126 <= scale < 3e38:
        fail(op, f"out_scale must be a positive normal float32, got {scale:g}")
    if not 0 <= zero_point <= 255:
        fail(op, f"out_zero_point must be in [0, 255], got {zero_point}")


def check_activation(like: Like, kind: str | None, param: Tensor | None, n: int) -> None:
    """The activation that a call asks for on ``n`` columns or channels, and its parameter."""
    if kind is not None and kind not in activations.NAMES:
        fail(like.op, f"activation must be one of None, {', '.join(activations.NAMES)}, got {kind}")
    takes, slopes = kind in activations.WITH_PARAM, kind == "prelu"
    if not takes and param is not None:
        fail(like.op, f"activation_param must be None for {kind}, got shape {shape_text(param.shape)}")
    if takes and param is None:
        fail(like.op, f"activation_param must be a tensor for {kind}, got None")
    check_vector(like, "activation_param", param, slopes, n if slopes else 1)
