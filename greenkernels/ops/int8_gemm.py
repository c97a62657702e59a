"""int8_gemm: exact products of 8-bit integers with a float side, as typed functions.

The contract is ``csrc/api/int8_gemm.h``; ``int8_gemm_op.py`` defines the ops these functions call.
"""

from typing import Any

import torch
from torch import Tensor

from .activation import check_activation
from .int8_gemm_op import gemm, gemm_out, pack, packed_gemm, packed_gemm_out, unpack


def _param(param: Tensor | float | None, a: Tensor) -> Tensor | None:
    if isinstance(param, (float, int)):
        return torch.full((1,), float(param), device=a.device)
    return param


def int8_gemm(
    a: Tensor,
    b: Tensor,
    row_scale: Tensor | None = None,
    col_scale: Tensor | None = None,
    *,
    a_zero_point: Tensor | None = None,
    bias: Tensor | None = None,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    out_scale: float | None = None,
    out_zero_point: int = 0,
    out: Tensor | None = None,
) -> Tensor:
    """Product of quantized rows with a quantized weight: exact integer sums, then one scale a row and a column.

    ``sums[i, j] = sum over d of (qa[i, d] - a_zero_point[i]) * b[j, d]`` is exact for every depth.
    ``out[i, j] = activation(row_scale[i] * col_scale[j] * sums[i, j] + bias[j])``, or, without ``col_scale``,
    the sums themselves.

    ``qa`` is ``a`` where that holds integers. A float ``a`` is quantized on the way into the kernel,
    ``qa = clamp(round(a / row_scale) + a_zero_point, 0, 255)``, round half to even; where ``row_scale`` is None,
    every row gets the scale and the zero point by which it uses all of [0, 255], and a row that holds a NaN or
    an infinity comes out as NaN.

    The weight is brought into the kernel's order on every call: to multiply by one weight many times, see
    ``int8_gemm_packed`` or ``greenkernels.nn.Int8Linear``. Not differentiable. Under autocast a float ``a`` is
    cast as for ``torch.nn.functional.linear``; scales and bias stay float32.

    Args:
        a: ``[..., k]``, uint8, int8, float16, bfloat16 or float32; any strides. ``m`` is the number of its rows.
        b: ``[n, k]`` int8: the weight of a linear layer, not its transpose.
        row_scale: float32 ``[m]`` or ``[1]``, real value of one step of ``qa``.
        col_scale: float32 ``[n]``, real value of one step of ``b``.
        a_zero_point: int32 ``[m]`` or ``[1]``, what stands for 0: in [-128, 127] for int8 ``a``, else in [0, 255].
        bias: float32 ``[n]``.
        activation: None, "relu", "relu6", "leaky_relu", "prelu", "silu", "gelu", "sigmoid", "tanh",
            "hardswish" or "hardsigmoid", each as in ``torch.nn.functional`` with its defaults.
        activation_param: The slope left of zero: a float or float32 ``[1]`` for "leaky_relu", float32 ``[1]`` or
            ``[n]`` for "prelu"; None for the others.
        out_scale: Asks for the output as uint8, ``clamp(round(out / out_scale) + out_zero_point, 0, 255)``.
        out_zero_point: In [0, 255].
        out: Tensor to write the result to, of its shape and dtype.

    Returns:
        ``[..., n]``: int32 without ``col_scale``, uint8 with ``out_scale``, else the dtype of a float ``a`` or
        float32; ``out`` if given.

    Raises:
        ValueError: ``activation`` is not one of the above.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes, devices or ranges do not fit; ``k`` is above 2^24 - 1, or above 2^16 where
            the sums themselves are asked for; a gradient is asked for.

    Source: Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", NeurIPS 2022.
    """
    check_activation(activation, activation_param)
    param = _param(activation_param, a)
    options = (row_scale, col_scale, a_zero_point, bias, activation, param, out_scale, out_zero_point)
    if out is None:
        return gemm(a, b, *options)
    gemm_out(a, b, *options, out=out)
    return out


def int8_gemm_packed(
    a: Tensor,
    packed: Tensor,
    row_scale: Tensor | None = None,
    col_scale: Tensor | None = None,
    *,
    n: int,
    a_zero_point: Tensor | None = None,
    bias: Tensor | None = None,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    out_scale: float | None = None,
    out_zero_point: int = 0,
    out: Tensor | None = None,
) -> Tensor:
    """``int8_gemm`` with a weight that ``int8_gemm_pack`` brought into order before.

    Arguments, result and errors are those of ``int8_gemm`` except for:

    Args:
        packed: What ``int8_gemm_pack(b)`` returned.
        n: ``b.shape[0]``.
    """
    check_activation(activation, activation_param)
    param = _param(activation_param, a)
    options: tuple[Any, ...] = (row_scale, col_scale, a_zero_point, bias, activation, param)
    options = (n, *options, out_scale, out_zero_point)
    if out is None:
        return packed_gemm(a, packed, *options)
    packed_gemm_out(a, packed, *options, out=out)
    return out


def int8_gemm_pack(b: Tensor) -> Tensor:
    """The weight in the order in which the kernels of ``int8_gemm_packed`` read it.

    One layout for all instruction sets, so it may be stored and used on another machine.

    Args:
        b: ``[n, k]`` int8, any strides.

    Returns:
        int8, 1-D, ``128 * ceil(n / 32) * (ceil(k / 4) + 1)`` elements: the weight and the sums of its rows.

    Raises:
        RuntimeError: ``b`` is not int8 or not 2-D, or ``k`` is above 2^24 - 1.
    """
    return pack(b)


def int8_gemm_unpack(packed: Tensor, n: int, k: int) -> Tensor:
    """The weight ``[n, k]`` that ``packed`` was made from.

    Args:
        packed: What ``int8_gemm_pack`` returned for a weight of these sizes.
        n: Rows of the weight.
        k: Columns of the weight.

    Raises:
        RuntimeError: ``packed`` has another number of elements than these sizes ask for.
    """
    return unpack(packed, n, k)
