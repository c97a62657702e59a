"""int8_winograd_conv2d on every instruction set against integers in numpy, and as an op of torch."""

import numpy as np
import pytest
import torch
from conv_cases import FORMATS, make, needs_kernels
from int8_cases import EPS, int8_isa, numpy_quantized, numpy_quantizer  # noqa: F401  a fixture
from op_errors import message_of, on_meta

import greenkernels as gk
from greenkernels.ops.int8_packing import unpack
from greenkernels.ops.int8_winograd_conv2d_op import packed_conv, packed_plain

AT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])

# (batch, in_c, out_c, h, w, padding): smallest, around vector, panel, chunk and block, one row, one tile
SHAPES = [
    (1, 1, 1, 3, 3, (0, 0)),
    (2, 3, 33, 5, 8, (1, 1)),
    (1, 70, 40, 9, 7, (0, 2)),
    (3, 64, 32, 4, 6, (1, 0)),
    (1, 130, 65, 1, 2, (1, 1)),
    (2, 17, 16, 15, 14, (3, 1)),
]


def float_tiles(x: torch.Tensor, padding: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """``B^T d B`` in float32, of which each element is one sum of four in a fixed order: [16, tile, channel]."""
    n, c, h, w = x.shape
    padded = np.zeros((n, c, 2 * rows + 2, 2 * columns + 2), np.float32)
    padded[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = x.float().numpy()
    tiles = np.stack(
        [
            padded[i, :, 2 * y : 2 * y + 4, 2 * z : 2 * z + 4]
            for i in range(n)
            for y in range(rows)
            for z in range(columns)
        ]
    )
    d = [tiles[:, :, i] for i in range(4)]
    d = np.stack([d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]], 2)
    d = [d[..., j] for j in range(4)]
    d = np.stack([d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]], 3)
    return d.transpose(2, 3, 0, 1).reshape(16, len(tiles), c)


def oracle(x, packed, scale, padding):
    """The float64 result without bias on the contract's integers, and the size of its terms."""
    out_c, in_c, out_h, out_w = (
        scale.shape[1],
        x.shape[1],
        *(x.shape[2 + d] + 2 * padding[d] - 2 for d in (0, 1)),
    )
    rows, columns = (out_h + 1) // 2, (out_w + 1) // 2
    products = []
    for t, v in enumerate(float_tiles(x, padding, rows, columns)):
        step, zero = numpy_quantizer(v)
        q = numpy_quantized(v, step, zero) - zero.astype(np.int64)[:, None]
        weight = unpack(packed.reshape(16, -1)[t].contiguous(), out_c, in_c).numpy().astype(np.int64)
        products.append(step.astype(np.float64)[:, None] * scale[t].double().numpy() * (q @ weight.T))
    p = np.stack(products).reshape(4, 4, x.shape[0], rows, columns, out_c)
    out, size = (
        np.einsum("ia,abnyxk,jb->nkyixj", a, of, a).reshape(x.shape[0], out_c, 2 * rows, 2 * columns)
        for a, of in ((AT, p), (abs(AT), abs(p)))
    )
    return (torch.from_numpy(map_[:, :, :out_h, :out_w]) for map_ in (out, size))


def check(x, weight, padding, bias=None, activation=None, skip=None, skip_scale=1.0):
    packed, scale = gk.ops.int8_winograd_conv2d_pack(weight)
    out = gk.ops.int8_winograd_conv2d_packed(
        x,
        packed,
        scale,
        out_channels=weight.shape[0],
        bias=bias,
        padding=padding,
        activation=activation,
        skip=skip,
        skip_scale=skip_scale,
    )
    expected, size = oracle(x, packed, scale, padding)
    if bias is not None:
        expected, size = expected + bias.view(1, -1, 1, 1), size + bias.view(1, -1, 1, 1).abs()
    if skip is not None:
        expected, size = expected + skip_scale * skip.double(), size + (skip_scale * skip.double()).abs()
    if activation == "relu":
        expected = expected.relu()
    # Roundings of a sum to float, of two scales, of four additions, of bias and skip: each EPS / 2 of the terms.
    bound = 5 * EPS * size
    if out.dtype != torch.float32:
        bound = bound + torch.finfo(out.dtype).eps * expected.abs()
    assert out.dtype == x.dtype
    assert ((out.double() - expected).abs() <= bound).all(), (tuple(x.shape), tuple(weight.shape))
    return out


@pytest.mark.usefixtures("int8_isa")
@pytest.mark.parametrize("memory_format", FORMATS)
def test_matches_integers(memory_format):
    for seed, (n, in_c, out_c, h, w, padding) in enumerate(SHAPES):
        x = make((n, in_c, h, w), seed).contiguous(memory_format=memory_format)
        weight, bias = make((out_c, in_c, 3, 3), seed + 1), make((out_c,), seed + 2)
        out = check(x, weight, padding, bias, "relu")
        stock = torch.nn.functional.conv2d(x, weight, bias, padding=padding)
        assert out.stride() == stock.stride()
        skip = make(tuple(stock.shape), seed + 3)
        check(x, weight, padding, bias, None, skip, -0.5)


@pytest.mark.usefixtures("int8_isa")
def test_matches_at_the_ends_of_the_range_and_on_a_real_layer():
    generator = torch.Generator().manual_seed(0)
    x = torch.where(torch.rand(1, 200, 8, 8, generator=generator) < 0.5, -1.0, 1.0)  # taps are 0, +-2 and +-4
    weight = torch.where(torch.rand(64, 200, 3, 3, generator=generator) < 0.5, -1.0, 1.0)
    check(x, weight, (1, 1))
    check(x * 1e-3, weight * 1e3, (1, 1))
    check(
        make((1, 128, 28, 28)).relu().contiguous(memory_format=torch.channels_last),
        make((128, 128, 3, 3)),
        (1, 1),
    )


@pytest.mark.usefixtures("int8_isa")
def test_a_tile_that_is_not_finite_comes_out_as_nan_and_no_other_does():
    weight = make((33, 5, 3, 3))
    for bad in (torch.nan, torch.inf, -torch.inf):
        x = make((2, 5, 12, 12))
        x[1, 3, 6, 7] = bad  # in the tiles whose 4 x 4 input begins at rows and columns 4 and 6
        out = gk.ops.int8_winograd_conv2d(x, weight)
        assert out[1, :, 4:8, 4:8].isnan().all()
        assert out.isnan().sum() == 33 * 16


def test_is_as_near_as_8_bits_allow():
    x, weight = make((1, 64, 14, 14)), make((64, 64, 3, 3), 1)
    exact = torch.nn.functional.conv2d(x.double(), weight.double(), padding=1)
    error = (gk.ops.int8_winograd_conv2d(x, weight, padding=1) - exact).norm() / exact.norm()
    # Taps are sums of four uniform values: about 3.2 standard deviations of theirs fill half of the 255 steps, and 2.6
    # of those of the filters' taps 127: errors of 3.2 / 127 / 12^0.5 and 2.6 / 127 / 12^0.5, 9.4e-3 together. A^T adds
    # 9 products for the power of 4 (its share of the exact sum), which doubles the variance at the most.
    assert error < 2**0.5 * 9.4e-3


@needs_kernels
def test_thread_count_and_batches_change_no_bit():
    before = torch.get_num_threads()
    try:
        for shape in ((3, 70, 40, 41), (1, 64, 7, 7), (1, 300, 14, 14)):
            x, weight = make(shape), make((96, shape[1], 3, 3), 1)
            results = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                results.append(gk.ops.int8_winograd_conv2d(x, weight, padding=1, activation="gelu"))
            assert all(torch.equal(results[0], other) for other in results[1:])
            assert torch.equal(
                results[0][-1:], gk.ops.int8_winograd_conv2d(x[-1:], weight, padding=1, activation="gelu")
            )
    finally:
        torch.set_num_threads(before)


def test_empty_sizes():
    for shape, out_c in [((0, 3, 5, 5), 4), ((2, 3, 3, 4), 4), ((1, 3, 5, 5), 0)]:
        out = gk.ops.int8_winograd_conv2d(make(shape), make((out_c, 3, 3, 3)), padding=(0, 1))
        assert out.shape == (shape[0], out_c, shape[2] - 2, shape[3])
    bias = make((4,))
    out = gk.ops.int8_winograd_conv2d(make((1, 0, 5, 5)), make((4, 0, 3, 3)), bias=bias)
    assert torch.equal(out, bias.view(1, 4, 1, 1).expand(1, 4, 3, 3))


# As an op of torch.


def op_args(dtype=torch.float32, **changes):
    packed, scale = gk.ops.int8_winograd_conv2d_pack(make((34, 6, 3, 3)))
    args = {
        "input": make((2, 6, 9, 8), 1, dtype),
        "packed": packed,
        "out_channels": 34,
        "weight_scale": scale,
        "bias": torch.randn(34),
        "padding": [1, 0],
        "activation": "prelu",
        "activation_param": torch.rand(34),
        "skip": make((2, 34, 9, 6), 2),
        "skip_scale": 0.5,
    }
    return list((args | changes).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck_and_plain_torch(dtype):
    args = op_args(dtype)
    torch.library.opcheck(packed_conv, args)
    torch.testing.assert_close(packed_conv(*args), packed_plain(*args))


WRONG = [
    ({"input": make((6, 9, 8))}, "input must be 4-D, got shape [6, 9, 8]"),
    ({"input": make((2, 6, 9, 8)).double()}, "input must be float16, bfloat16 or float32, got float64"),
    ({"out_channels": -1}, "out_channels must be in [0, 2^31), got -1"),
    ({"packed": torch.zeros(2, 3, dtype=torch.int8)}, "packed must be 1-D and contiguous, got shape [2, 3]"),
    ({"packed": torch.zeros(4)}, "packed must be int8, got float32"),
    (
        {"packed": torch.zeros(4, dtype=torch.int8)},
        "packed must have 12288 elements for 6 -> 34 channels, got 4",
    ),
    ({"weight_scale": torch.ones(16, 3)}, "weight_scale must be [16, 34], got [16, 3]"),
    ({"weight_scale": torch.ones(16, 34).double()}, "weight_scale must be float32, got float64"),
    ({"bias": torch.ones(2)}, "bias must have 34 elements, got 2"),
    ({"padding": [-1, 1]}, "padding must be two integers in [0, 2^31), got [-1, 1]"),
    ({"activation": "relu"}, "activation_param must be None for relu, got shape [34]"),
    ({"skip": torch.ones(2, 34, 5, 5)}, "skip must have shape [2, 34, 9, 6], got [2, 34, 5, 5]"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_rejects_in_the_same_words(changes, message):
    args = op_args(**changes)
    for op, given in ((packed_conv, args), (packed_conv, on_meta(args)), (packed_plain, args)):
        assert message_of(op, given) == f"int8_winograd_conv2d_packed: {message}"


def test_refuses_gradients_and_other_filters():
    with pytest.raises(RuntimeError, match="rounding to integers has no gradient"):
        gk.ops.int8_winograd_conv2d(make((1, 3, 5, 5)).requires_grad_(), make((4, 3, 3, 3)))
    with pytest.raises(
        ValueError, match=r"weight must be \[out_channels, in_channels, 3, 3\], got \[4, 3, 5, 5\]"
    ):
        gk.ops.int8_winograd_conv2d_pack(make((4, 3, 5, 5)))
