"""int8_winograd_conv2d as an op of torch. The contract is ``csrc/api/int8_winograd_conv2d.h``."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _library, int8_packing
from . import activation as activations
from .conv2d_checks import Shape, dtype_name, fail, shape_text
from .direct_conv2d_checks import check_sizes
from .int8_conv2d_checks import FLOATS, check_skip_map
from .int8_gemm_op import exact_sums, find_quantizer, quantize
from .int8_packing import SLICE, packed_bytes
from .maps import empty_like_format
from .quantized_checks import Like, check_activation, check_vector

PACKED, TAPS = "int8_winograd_conv2d_packed", 16
_library.define(
    f"{PACKED}(Tensor input, Tensor packed, SymInt out_channels, Tensor weight_scale, Tensor? bias, "
    "SymInt[2] padding, str? activation, Tensor? activation_param, Tensor? skip, float skip_scale) -> Tensor"
)
packed_conv = torch.ops.greenkernels.int8_winograd_conv2d_packed.default

_BT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_G = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_AT = ((1, 1, 1, 0), (0, 1, -1, -1))


class Options(NamedTuple):
    """What the op takes behind ``out_channels``, in the order of the schema."""

    weight_scale: Tensor
    bias: Tensor | None
    padding: Sequence[int]
    activation: str | None
    activation_param: Tensor | None
    skip: Tensor | None
    skip_scale: float


def taps_of(weight: Tensor) -> Tensor:
    """``G g G^T`` of ``weight [out_channels, in_channels, 3, 3]``: float64 ``[16, out_channels, in_channels]``."""
    g = torch.tensor(_G, dtype=torch.float64, device=weight.device)
    taps = torch.einsum("ai,kcij,bj->abkc", g, weight.double(), g)
    return taps.reshape(TAPS, *weight.shape[:2])


def _check_weight(op: str, x: Tensor, packed: Tensor, out_channels: int, weight_scale: Tensor) -> None:
    if x.dim() != 4:
        fail(op, f"input must be 4-D, got shape {shape_text(x.shape)}")
    if x.dtype not in FLOATS:
        fail(op, f"input must be float16, bfloat16 or float32, got {dtype_name(x.dtype)}")
    if not 0 <= out_channels < 1 << 31:
        fail(op, f"out_channels must be in [0, 2^31), got {out_channels}")
    if x.shape[1] > SLICE:
        fail(op, f"input must have at most {SLICE} channels, got {x.shape[1]}")
    if packed.dim() != 1 or not packed.is_contiguous():
        fail(op, f"packed must be 1-D and contiguous, got shape {shape_text(packed.shape)}")
    if packed.dtype != torch.int8:
        fail(op, f"packed must be int8, got {dtype_name(packed.dtype)}")
    if packed.device != x.device:
        fail(op, f"packed must be on the device of input, {x.device}, got {packed.device}")
    wanted = TAPS * packed_bytes(out_channels, x.shape[1])
    if packed.numel() != wanted:
        fail(
            op,
            f"packed must have {wanted} elements for {x.shape[1]} -> {out_channels} channels, got {packed.numel()}",
        )
    if tuple(weight_scale.shape) != (TAPS, out_channels):
        fail(op, f"weight_scale must be [16, {out_channels}], got {shape_text(weight_scale.shape)}")
    if weight_scale.dtype != torch.float32:
        fail(op, f"weight_scale must be float32, got {dtype_name(weight_scale.dtype)}")
    if weight_scale.device != x.device:
        fail(op, f"weight_scale must be on the device of input, {x.device}, got {weight_scale.device}")


def _check(x: Tensor, packed: Tensor, out_channels: int, options: Options) -> Shape:
    """Everything; returns the shape of the output."""
    _check_weight(PACKED, x, packed, out_channels, options.weight_scale)
    like = Like(PACKED, "input", x)
    check_vector(like, "bias", options.bias, False, out_channels)
    if len(options.padding) != 2 or not all(0 <= p < 1 << 31 for p in options.padding):
        fail(PACKED, f"padding must be two integers in [0, 2^31), got {shape_text(options.padding)}")
    check_sizes(PACKED, x, (3, 3), options.padding)
    check_activation(like, options.activation, options.activation_param, out_channels)
    h, w = (x.shape[2 + d] + 2 * options.padding[d] - 2 for d in (0, 1))
    shape = x.shape[0], out_channels, h, w
    check_skip_map(PACKED, x, options.skip, shape)
    return shape


def _tiles(x: Tensor, padding: Sequence[int], rows: int, columns: int) -> Tensor:
    """Transformed tiles ``[16, batch * rows * columns, in_channels]`` of ``x``, in the order of the kernel's sums."""
    need = [2 * count + 2 for count in (rows, columns)]
    below, right = (need[d] - x.shape[2 + d] - padding[d] for d in (0, 1))
    d = F.pad(x.float(), (padding[1], right, padding[0], below)).unfold(2, 4, 2).unfold(3, 4, 2)
    tiles, channels = x.shape[0] * rows * columns, x.shape[1]
    d = d.permute(4, 5, 0, 2, 3, 1).reshape(4, 4, tiles, channels)  # [row, column, tile, channel]
    for dim in (0, 1):
        d0, d1, d2, d3 = d.unbind(dim)
        d = torch.stack((d0 - d2, d1 + d2, d2 - d1, d1 - d3), dim)
    return d.reshape(TAPS, tiles, channels)


def packed_plain(x: Tensor, packed: Tensor, out_channels: int, *args: Any) -> Tensor:
    """The op in torch's own ops."""
    options = Options(*args)
    shape = _check(x, packed, out_channels, options)
    if 0 in shape:
        return empty_like_format(x, shape)
    rows, columns = ((size + 1) // 2 for size in shape[2:])
    parts = packed.reshape(TAPS, -1)
    products, tiles = [], _tiles(x, options.padding, rows, columns)
    bad = ~tiles.isfinite().all(2).all(0)
    for t, v in enumerate(tiles):
        scale, zero = find_quantizer(v.masked_fill(bad.unsqueeze(1), torch.nan))
        b = int8_packing.unpack(parts[t].contiguous(), out_channels, x.shape[1])
        sums = exact_sums(quantize(v, scale, zero), zero, b)
        products.append(sums.float() * (scale.unsqueeze(1) * options.weight_scale[t]))
    at = x.new_tensor(_AT, dtype=torch.float32)
    p = torch.stack(products).reshape(4, 4, shape[0], rows, columns, out_channels)
    y = torch.einsum("ia,abnyxk,jb->nkyixj", at, p, at).reshape(shape[0], out_channels, 2 * rows, 2 * columns)
    out = y[:, :, : shape[2], : shape[3]]
    if options.bias is not None:
        out = out + options.bias.reshape(1, -1, 1, 1)
    if options.skip is not None:
        out = out + options.skip_scale * options.skip.float()
    out = activations.apply(options.activation, out, options.activation_param)
    return empty_like_format(x, shape).copy_(out)


def _packed_fake(x: Tensor, packed: Tensor, out_channels: int, *args: Any) -> Tensor:
    return empty_like_format(x, _check(x, packed, out_channels, Options(*args)))


_library.register(packed_conv, packed_plain, _packed_fake)
_library.register_refusal(packed_conv)
_library.register_autocast(packed_conv, (0,))  # scales, bias and slopes stay float32
