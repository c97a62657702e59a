"""codebook_gemm: products of 8-bit rows with a weight that names entries of a table, as typed functions.

The contract is ``csrc/api/codebook_gemm.h``; ``codebook_gemm_op.py`` defines the ops these functions call.
"""

from torch import Tensor

from .activation import check_activation
from .codebook_gemm_op import gemm, pack, packed_gemm, unpack
from .few_bits import slope_tensor


def codebook_gemm(
    a: Tensor,
    b: Tensor,
    table: Tensor,
    scale: Tensor,
    *,
    group: int = 64,
    bias: Tensor | None = None,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
) -> Tensor:
    """Product of float rows, quantized on the way in, with a weight of 4 or 16 different values, scaled by groups.

    ``out[i, j] = activation(sum over d of x[i, d] * scale[j, d // group] * table[b[j, d]] + bias[j])``, where ``x`` is
    ``a`` with every row rounded to 8 bits, by the scale and the zero point with which it uses all of [0, 255], round
    half to even. Sums within a group are exact integers; groups are added up in float32. A row that holds a NaN or an
    infinity comes out as NaN.

    The weight is brought into the kernel's order on every call: to multiply by one weight many times, see
    ``codebook_gemm_packed`` or ``greenkernels.nn.CodebookLinear``. Not differentiable. Under autocast ``a`` is cast as
    for ``torch.nn.functional.linear``.

    Args:
        a: ``[..., k]``, float16, bfloat16 or float32; any strides.
        b: ``[n, k]`` uint8, places in ``table``: the weight of a linear layer, not its transpose.
        table: int8 ``[4]`` or ``[16]`` in [-64, 63]: 2 or 4 bits an element of ``b``.
        scale: float32 ``[n, ceil(k / group)]``, real value of one step of ``table``; rounded to bfloat16.
        group: Elements of the depth that share a scale: 32, 64, 128, 256, 512 or 1024.
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

    Source: Han et al., "Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and
    Huffman Coding", ICLR 2016.
    """
    check_activation(activation, activation_param)
    return gemm(a, b, table, scale, group, bias, activation, slope_tensor(activation_param, a))


def codebook_gemm_packed(
    a: Tensor,
    packed: Tensor,
    *,
    n: int,
    group: int = 64,
    bits: int = 4,
    bias: Tensor | None = None,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
) -> Tensor:
    """``codebook_gemm`` with a weight that ``codebook_gemm_pack`` brought into order before.

    Arguments, result and errors are those of ``codebook_gemm`` except for:

    Args:
        packed: What ``codebook_gemm_pack(b, table, scale)`` returned for this ``group``.
        n: ``b.shape[0]``.
        bits: 2 for a table of 4 entries, 4 for one of 16.
    """
    check_activation(activation, activation_param)
    return packed_gemm(a, packed, n, group, bits, bias, activation, slope_tensor(activation_param, a))


def codebook_gemm_pack(b: Tensor, table: Tensor, scale: Tensor, *, group: int = 64) -> Tensor:
    """The weight in the order in which the kernels of ``codebook_gemm_packed`` read it, the table in front.

    One layout for all instruction sets, so it may be stored and used on another machine.

    Args:
        b: ``[n, k]`` uint8, places in ``table``, any strides.
        table: int8 ``[4]`` or ``[16]`` in [-64, 63].
        scale: float32 ``[n, ceil(k / group)]``; rounded to bfloat16.
        group: Elements of the depth that share a scale: 32 to 1024, a power of two.

    Returns:
        uint8, 1-D, ``64 + 32 * ceil(n / 32) * (ceil(k / group) * (2 + group * bits / 8) + 4)`` elements.

    Raises:
        RuntimeError: shapes or dtypes do not fit, or a place or an entry is out of its range.
    """
    return pack(b, table, scale, group)


def codebook_gemm_unpack(
    packed: Tensor, n: int, k: int, *, group: int = 64, bits: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    """Places ``[n, k]`` uint8, the table, and the scales ``[n, ceil(k / group)]``, float32 as rounded, of ``packed``.

    Args:
        packed: What ``codebook_gemm_pack`` returned for a weight of these sizes.
        n: Rows of the weight.
        k: Columns of the weight.
        group: Elements of the depth that share a scale.
        bits: Of a place, 2 or 4.

    Raises:
        RuntimeError: ``packed`` has another number of elements than these sizes ask for.
    """
    return unpack(packed, n, k, group, bits)
