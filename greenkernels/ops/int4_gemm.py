"""int4_gemm: products of 8-bit rows with a 4-bit weight, one scale for each group of the depth, as typed functions.

The contract is ``csrc/api/int4_gemm.h``; ``int4_gemm_op.py`` defines the ops these functions call.
"""

from torch import Tensor

from .activation import check_activation
from .few_bits import slope_tensor
from .int4_gemm_op import gemm, pack, packed_gemm, unpack


def int4_gemm(
    a: Tensor,
    b: Tensor,
    scale: Tensor,
    *,
    group: int = 64,
    bias: Tensor | None = None,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
) -> Tensor:
    """Product of float rows, quantized on the way in, with a 4-bit weight that has a scale for each group.

    ``out[i, j] = activation(sum over d of x[i, d] * scale[j, d // group] * b[j, d] + bias[j])``, where ``x`` is ``a``
    with every row rounded to 8 bits, by the scale and the zero point with which it uses all of [0, 255], round half to
    even. Sums within a group are exact integers; groups are added up in float32. A row that holds a NaN or an infinity
    comes out as NaN.

    The weight is brought into the kernel's order on every call: to multiply by one weight many times, see
    ``int4_gemm_packed`` or ``greenkernels.nn.Int4Linear``. Not differentiable. Under autocast ``a`` is cast as for
    ``torch.nn.functional.linear``.

    Args:
        a: ``[..., k]``, float16, bfloat16 or float32; any strides.
        b: ``[n, k]`` int8 with values in [-8, 7]: the weight of a linear layer, not its transpose.
        scale: float32 ``[n, ceil(k / group)]``, real value of one step of ``b``; rounded to bfloat16.
        group: Elements of the depth that share a scale: 32, 64 or 128.
        bias: float32 ``[n]``.
        activation: None, "relu", "relu6", "leaky_relu", "prelu", "silu", "gelu", "sigmoid", "tanh",
            "hardswish" or "hardsigmoid", each as in ``torch.nn.functional`` with its defaults.
        activation_param: The slope left of zero: a float or float32 ``[1]`` for "leaky_relu", float32 ``[1]`` or
            ``[n]`` for "prelu"; None for the others.

    Returns:
        ``[..., n]`` in the dtype of ``a``.

    Raises:
        ValueError: ``activation`` is not one of the above.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes, devices or ranges do not fit; a gradient is asked for.

    Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR
    2023, for the form of the weight, not for how it is found.
    """
    check_activation(activation, activation_param)
    return gemm(a, b, scale, group, bias, activation, slope_tensor(activation_param, a))


def int4_gemm_packed(
    a: Tensor,
    packed: Tensor,
    *,
    n: int,
    group: int = 64,
    bias: Tensor | None = None,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
) -> Tensor:
    """``int4_gemm`` with a weight that ``int4_gemm_pack`` brought into order before.

    Arguments, result and errors are those of ``int4_gemm`` except for:

    Args:
        packed: What ``int4_gemm_pack(b, scale)`` returned for this ``group``.
        n: ``b.shape[0]``.
    """
    check_activation(activation, activation_param)
    return packed_gemm(a, packed, n, group, bias, activation, slope_tensor(activation_param, a))


def int4_gemm_pack(b: Tensor, scale: Tensor, *, group: int = 64) -> Tensor:
    """The weight in the order in which the kernels of ``int4_gemm_packed`` read it: half a byte an element.

    One layout for all instruction sets, so it may be stored and used on another machine.

    Args:
        b: ``[n, k]`` int8 with values in [-8, 7], any strides.
        scale: float32 ``[n, ceil(k / group)]``; rounded to bfloat16.
        group: Elements of the depth that share a scale: 32, 64 or 128.

    Returns:
        uint8, 1-D, ``32 * ceil(n / 32) * (ceil(k / group) * (2 + group / 2) + 4)`` elements.

    Raises:
        RuntimeError: shapes or dtypes do not fit, or a value does not fit in 4 bits.
    """
    return pack(b, scale, group)


def int4_gemm_unpack(packed: Tensor, n: int, k: int, *, group: int = 64) -> tuple[Tensor, Tensor]:
    """The weight ``[n, k]`` int8 and the scales ``[n, ceil(k / group)]``, float32 as rounded, of ``packed``.

    Args:
        packed: What ``int4_gemm_pack`` returned for a weight of these sizes.
        n: Rows of the weight.
        k: Columns of the weight.
        group: Elements of the depth that share a scale.

    Raises:
        RuntimeError: ``packed`` has another number of elements than these sizes ask for.
    """
    return unpack(packed, n, k, group)
