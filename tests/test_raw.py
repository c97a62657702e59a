"""The kernels on numpy arrays: greenkernels_raw of ``make raw`` if it is on the path, else a new one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from itertools import product
from types import ModuleType

import pytest

from greenkernels import _jit, _toolchain

np = pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def raw() -> ModuleType:
    if importlib.util.find_spec("greenkernels_raw"):
        import greenkernels_raw

        return greenkernels_raw
    try:
        _jit.check()
        _toolchain.raw_extension()
    except _toolchain.BuildError as error:
        pytest.skip(str(error))
    from greenkernels import raw

    return raw


def reference(input, weight, padding):
    """The convolution in float64, NCHW."""
    (pad_h, pad_w), wide = padding, weight.astype(np.float64)
    padded = np.pad(input.astype(np.float64), ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    out_h, out_w = padded.shape[2] - 2, padded.shape[3] - 2
    out = np.zeros((len(input), len(weight), out_h, out_w))
    for i, j in product(range(3), range(3)):
        out += np.einsum("nchw,kc->nkhw", padded[:, :, i : i + out_h, j : j + out_w], wide[:, :, i, j])
    return out


@pytest.mark.parametrize("tile", [2, 4, 6])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matches_float64(raw: ModuleType, tile: int, layout: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    input, weight = (
        random.normal(size=(2, 5, 11, 9)).astype(dtype),
        random.normal(size=(17, 5, 3, 3)).astype(dtype),
    )
    bias, skip = random.normal(size=17).astype(dtype), random.normal(size=(2, 17, 13, 9)).astype(dtype)
    expected = np.maximum(reference(input, weight, (2, 1)) + bias[:, None, None] + 0.5 * skip, 0)

    def arrange(maps):
        return np.ascontiguousarray(maps.transpose(0, 2, 3, 1)) if layout == "nhwc" else maps

    packed = raw.winograd_conv2d_pack(weight, tile)
    out = raw.winograd_conv2d(
        arrange(input),
        packed,
        bias,
        out_channels=17,
        padding=(2, 1),
        tile=tile,
        activation="relu",
        skip=arrange(skip),
        skip_scale=0.5,
        layout=layout,
    )
    # 45 products a sum, each rounded once; the transforms amplify that by at most 17
    # (api/winograd_conv2d.h), and the largest sum is taken as the size of all, since a tile mixes its
    # elements.
    bound = 17 * 45 * np.finfo(dtype).eps / 2 * np.abs(expected).max()
    assert out.dtype == dtype
    assert np.abs(out - arrange(expected)).max() <= bound


def direct_reference(input, weight, stride, padding, dilation, groups):
    """The convolution of any geometry in float64, NCHW."""
    (s_h, s_w), (p_h, p_w), (d_h, d_w) = stride, padding, dilation
    padded = np.pad(input.astype(np.float64), ((0, 0), (0, 0), (p_h, p_h), (p_w, p_w)))
    k_h, k_w = weight.shape[2:]
    out_h = (padded.shape[2] - d_h * (k_h - 1) - 1) // s_h + 1
    out_w = (padded.shape[3] - d_w * (k_w - 1) - 1) // s_w + 1
    maps, filters = np.split(padded, groups, axis=1), np.split(weight.astype(np.float64), groups)
    out = np.zeros((len(input), len(weight), out_h, out_w))
    for i, j in product(range(k_h), range(k_w)):
        rows, columns = (
            slice(at, at + (size - 1) * step + 1, step)
            for at, size, step in ((i * d_h, out_h, s_h), (j * d_w, out_w, s_w))
        )
        parts = [
            np.einsum("nchw,kc->nkhw", part[:, :, rows, columns], filter[:, :, i, j])
            for part, filter in zip(maps, filters, strict=True)
        ]
        out += np.concatenate(parts, axis=1)
    return out


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [1, 2])
def test_direct_conv2d_matches_float64(raw: ModuleType, layout: str, dtype: str, groups: int) -> None:
    random = np.random.default_rng(0)
    input = random.normal(size=(2, 6, 21, 37)).astype(dtype)
    weight = random.normal(size=(18, 6 // groups, 5, 3)).astype(dtype)
    geometry = {"stride": (2, 1), "padding": (2, 1), "dilation": (1, 2)}
    expected = direct_reference(input, weight, **geometry, groups=groups)
    bias = random.normal(size=18).astype(dtype)
    skip = random.normal(size=expected.shape).astype(dtype)
    expected = np.maximum(expected + bias[:, None, None] + 0.5 * skip, 0)

    def arrange(maps):
        return np.ascontiguousarray(maps.transpose(0, 2, 3, 1)) if layout == "nhwc" else maps

    options = {"activation": "relu", "skip": arrange(skip), "skip_scale": 0.5, "layout": layout}
    packed = raw.direct_conv2d_pack(weight, groups)
    out = raw.direct_conv2d(
        arrange(input),
        packed,
        bias,
        out_channels=18,
        kernel_size=(5, 3),
        groups=groups,
        **geometry,
        **options,
    )
    # At most 92 terms, each sum of them rounded once; the largest output is taken as the size of all sums, and 4
    # covers those that cancel.
    bound = 4 * 92 * np.finfo(dtype).eps / 2 * np.abs(expected).max()
    assert out.dtype == dtype
    assert np.abs(out - arrange(expected)).max() <= bound


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 2}, "groups must be positive and divide 3 input and 4 output channels, got 2"),
        ({"stride": (0, 1)}, r"stride must be 1 or more, got \[0, 1\]"),
        ({"kernel_size": (9, 9)}, "padded input is smaller than the filter"),
        ({"out_channels": 20}, r"packed must be \[864\], got \[432\]"),
    ],
)
def test_wrong_direct_conv2d_is_a_value_error(
    raw: ModuleType, change: dict[str, object], message: str
) -> None:
    packed = raw.direct_conv2d_pack(np.ones((4, 3, 3, 3), "float32"))
    options = {"out_channels": 4, "kernel_size": (3, 3), **change}
    with pytest.raises(ValueError, match=message):
        raw.direct_conv2d(np.ones((1, 3, 5, 5), "float32"), packed, **options)


def test_threads_and_levels(raw: ModuleType) -> None:
    assert raw.isa_levels()[0] == "scalar"
    before = raw.set_isa("scalar")
    assert raw.set_isa(before) == "scalar"
    threads = raw.num_threads()
    raw.set_num_threads(threads + 1)
    assert raw.num_threads() == threads + 1
    raw.set_num_threads(threads)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        raw.set_num_threads(0)
    with pytest.raises(ValueError, match="soup"):
        raw.set_isa("soup")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile": 3}, "tile must be 2, 4 or 6, got 3"),
        ({"layout": "chwn"}, "layout must be 'nchw' or 'nhwc', got 'chwn'"),
        ({"activation": "soup"}, "activation is unknown: 'soup'"),
        ({"activation": "prelu"}, "activation_param is missing"),
        ({"padding": (-1, 0)}, "padding must not be negative"),
        ({"out_channels": 20}, r"packed must be \[3456\], got \[1728\]"),
        ({"bias": "float64"}, "bias must be a C-contiguous array of float32, got float64"),
    ],
)
def test_wrong_input_is_a_value_error(raw: ModuleType, change: dict[str, object], message: str) -> None:
    packed = raw.winograd_conv2d_pack(np.ones((4, 3, 3, 3), "float32"), 4)
    if "bias" in change:
        change = {"bias": np.ones(4, change["bias"])}
    with pytest.raises(ValueError, match=message):
        raw.winograd_conv2d(np.ones((1, 3, 5, 5), "float32"), packed, **{"out_channels": 4, **change})


def test_needs_no_torch() -> None:
    if not importlib.util.find_spec("greenkernels_raw"):
        pytest.skip("greenkernels_raw is not on the path; make raw builds it")
    code = "import sys, greenkernels_raw; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
