"""half_gemm: products of float rows with a weight stored in 16 bits, in float32 arithmetic, as typed functions.

The contract is ``csrc/api/half_gemm.h``; ``half_gemm_op.py`` defines the ops these functions call.
"""

from torch import Tensor

from .activation import check_activation
from .few_bits import slope_tensor
from .half_gemm_op import gemm, pack, packed_gemm, unpack


def half_gemm(
    a: Tensor,
    b: Tensor,
    *,
    bias: Tensor | None = None,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
) -> Tensor:
    """Product of float rows with a weight of 16-bit numbers, which the kernel widens to float32 as it reads them.

    ``out[i, j] = activation(sum over d of a[i, d] * b[j, d] + bias[j])``, products and sums in float32: exact but for
    the rounding of the sum. Only what ``b`` lost when it was rounded to 16 bits is lost.

    The weight is brought into the kernel's order on every call: to multiply by one weight many times, see
    ``half_gemm_packed`` or ``greenkernels.nn.HalfLinear``. Not differentiable. Under autocast ``a`` is cast as for
    ``torch.nn.functional.linear``.

    Args:
        a: ``[..., k]``, float16, bfloat16 or float32; any strides.
        b: ``[n, k]``, float16 or bfloat16, any strides: the weight of a linear layer, not its transpose.
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
        RuntimeError: Shapes, dtypes or devices do not fit; a gradient is asked for.

    Source: Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019, for one of the two formats.
    """
    check_activation(activation, activation_param)
    return gemm(a, b, bias, activation, slope_tensor(activation_param, a))


def half_gemm_packed(
    a: Tensor,
    packed: Tensor,
    *,
    n: int,
    bias: Tensor | None = None,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
) -> Tensor:
    """``half_gemm`` with a weight that ``half_gemm_pack`` brought into order before.

    Arguments, result and errors are those of ``half_gemm`` except for:

    Args:
        packed: What ``half_gemm_pack(b)`` returned.
        n: ``b.shape[0]``.
    """
    check_activation(activation, activation_param)
    return packed_gemm(a, packed, n, bias, activation, slope_tensor(activation_param, a))


def half_gemm_pack(b: Tensor) -> Tensor:
    """The weight in the order in which the kernels of ``half_gemm_packed`` read it: 2 bytes an element.

    One layout for all instruction sets, so it may be stored and used on another machine.

    Args:
        b: ``[n, k]``, float16 or bfloat16, any strides.

    Returns:
        1-D, of the dtype of ``b``, ``32 * ceil(n / 32) * k`` elements.

    Raises:
        RuntimeError: ``b`` is not a matrix of one of these dtypes.
    """
    return pack(b)


def half_gemm_unpack(packed: Tensor, n: int, k: int) -> Tensor:
    """The weight ``[n, k]`` that ``packed`` was made from, in its dtype.

    Args:
        packed: What ``half_gemm_pack`` returned for a weight of these sizes.
        n: Rows of the weight.
        k: Columns of the weight.

    Raises:
        RuntimeError: ``packed`` has another number of elements than these sizes ask for.
    """
    return unpack(packed, n, k)
