"""How often a kernel goes through its arrays, and what it touches in between: a working-set model of its traffic.

A pass over an array finds it in a cache if what was touched since the pass before fits beside it there. So an array of
``bytes`` that a kernel goes through ``passes`` times costs, below a cache of that capacity,

    bytes * (passes if between > capacity else 1)

The first pass over an argument is in the compulsory bytes of `Counts`; a `Stream` adds the others, and all passes over
scratch. What a cache writes back is not counted again. `tests/test_energy_traffic.py` compares this with a simulation
of caches under the real kernels.
"""

from __future__ import annotations

import os
from typing import NamedTuple

# The blocks of a product in the libraries that torch calls and in sgemm: Low et al., "Analytical Modeling Is Enough for
# High-Performance BLIS", ACM TOMS 2016; rows and columns of a micro-tile, terms, rows and columns of a block.
MICRO_ROWS, MICRO_COLUMNS, DEPTH, ROWS, COLUMNS = 12, 32, 256, 240, 4096
STRIP_ROWS = 64  # of x that a strip of our sparse kernels holds at most
STAGED_BYTES = 32 << 20  # most scratch of our kernels for a transformed or gathered input


class Stream(NamedTuple):
    """An array that is gone through several times.

    Attributes:
        bytes: its size.
        passes: how often it is gone through.
        between: bytes that are touched from one pass over an element to the next.
        scratch: whether it is the kernel's own memory, so that its first pass is in nobody's compulsory bytes. The
            kernel before used the same: what fits in a cache is still there.
    """

    bytes: int
    passes: int
    between: int
    scratch: bool = False

    def again(self, capacity: int, cold: bool = False) -> int:
        """Bytes beside the compulsory ones that are fetched from below a cache of that capacity.

        Args:
            capacity: of the cache.
            cold: nothing was in it, no scratch either.
        """
        misses = self.between > capacity
        first = self.scratch and (misses or cold)
        return self.bytes * ((self.passes - 1 if misses else 0) + first)


def l2_bytes() -> int:
    """Size of this processor's L2 cache, by which the kernels choose their blocks; 1 MiB where it is not told."""
    try:
        found = os.sysconf("SC_LEVEL2_CACHE_SIZE")
    except (ValueError, OSError, AttributeError):
        found = 0
    return found if found > 0 else 1 << 20


def product(m: int, n: int, k: int, element: int) -> tuple[Stream, ...]:
    """A blocked product of ``[m, k]`` and ``[n, k]``: blocks of columns, of terms, of rows, then micro-tiles."""
    a, b, c = m * k * element, n * k * element, m * n * element
    columns, rows, depth = min(n, COLUMNS), min(m, ROWS), min(k, DEPTH)
    column_blocks, row_blocks, slices = _ceil(n, columns), _ceil(m, rows), _ceil(k, depth)
    found = (
        Stream(a, column_blocks, (a + (b + c) // max(1, column_blocks))),
        Stream(a * column_blocks, _ceil(columns, MICRO_COLUMNS), rows * depth * element),
        Stream(b, row_blocks, depth * (columns + rows) * element),
        Stream(b * row_blocks, _ceil(rows, MICRO_ROWS), depth * (MICRO_COLUMNS + MICRO_ROWS) * element),
        Stream(c, slices, m * columns * element + depth * (m + columns) * element),
    )
    return _without_empty(*found)


def convolution(
    groups: int, sizes: tuple[int, int, int], row_bytes: int, taps: int, element: int
) -> tuple[Stream, ...]:
    """A convolution as products of gathered pixels.

    Args:
        groups: products side by side.
        sizes: of each: pixels of the output, its channels, and depth (channels of the input times taps).
        row_bytes: of one row of the input map with all channels.
        taps: of the filter, each of which reads the input again.
        element: bytes of a value.
    """
    pixels, _, depth = sizes
    found = tuple(s._replace(bytes=s.bytes * groups) for s in product(*sizes, element))
    # An input value is met again by the next tap, and after a row of pixels by those of the next row of the filter.
    gathered = pixels * depth * element * groups
    return (
        (*found, Stream(gathered // taps, taps, row_bytes * max(1, round(taps**0.5)))) if taps > 1 else found
    )


def streamed_weight(
    rows: int, row_bytes: int, weight: int, panels: int, taps: int = 1, product_bytes: int = 0
) -> tuple[Stream, ...]:
    """Our kernels that stage their input: the weight streams past groups of rows, or rows past panels of the weight.

    Args:
        rows: rows of the input as staged: tiles, pixels.
        row_bytes: of a staged row.
        weight: bytes of the packed weight.
        panels: that the weight consists of.
        taps: products that a panel is for, one after the other.
        product_bytes: of a row's products with a panel, where these are staged too.
    """
    half, staged = l2_bytes() // 2, rows * row_bytes  # a group of rows takes half of L2
    group = min(rows * (row_bytes + product_bytes), half)
    passes = _ceil(rows * (row_bytes + product_bytes), half)
    panels_traffic = weight + (staged * panels if staged > half else staged)
    if panels > 1 and staged <= STAGED_BYTES and panels_traffic < passes * weight:
        products = Stream(rows * product_bytes, 2 * panels, rows * product_bytes, scratch=True)
        found = (Stream(staged, 1 + panels, staged, scratch=True), products)
    else:
        found = (
            Stream(weight, passes, weight + half),
            Stream(group, passes * (1 + panels), group, scratch=True),
        )
    # Each micro-tile of rows reads the panel that it is multiplied with.
    panel = weight // max(1, panels * taps)
    return _without_empty(*found, Stream(weight, _ceil(rows, MICRO_ROWS), panel))


def strips(rows: int, row_bytes: int, weight: int, tiles: int) -> tuple[Stream, ...]:
    """Our sparse kernels: strips of up to 64 rows are transposed, and the weight streams past each, tile by tile.

    Args:
        rows: of x, or pixels.
        row_bytes: of one, as transposed.
        weight: bytes of the packed weight.
        tiles: that its rows are cut into.
    """
    strip = min(rows, STRIP_ROWS) * row_bytes
    count = _ceil(rows, STRIP_ROWS)
    scratch = Stream(strip, count * (1 + tiles), strip, scratch=True)
    return _without_empty(Stream(weight, count, weight + strip), scratch)


def _without_empty(*streams: Stream) -> tuple[Stream, ...]:
    return tuple(stream for stream in streams if stream.bytes and stream.passes > 1)


def _ceil(a: int, b: int) -> int:
    return -(-a // b) if b else 0
