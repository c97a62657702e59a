"""Compiles products in Triton for compute capability 8.0, which needs no GPU: a cubin for each tile in a folder.

Runs in an environment with triton: ``python triton_products.py FOLDER``.
"""

import sys
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

# stem -> (element, result, accumulator); tiles: rows, columns, depth, warps, stages
TYPES = {"sgemm": ("fp32", "fp32", tl.float32), "int8_gemm": ("i8", "i32", tl.int32)}
TILES = {
    "sgemm": [(128, 128, 16, 8, 3), (128, 64, 32, 8, 3)],
    "int8_gemm": [(128, 128, 64, 8, 3), (128, 128, 128, 8, 3), (128, 256, 128, 8, 3)],
}


@triton.jit
def product(
    a, b, out, m, n, k, rows: tl.constexpr, columns: tl.constexpr, depth: tl.constexpr, kind: tl.constexpr
):
    """``out [m, n] = a [m, k] b [n, k]^T``, a program for each tile, numbered down the columns of tiles."""
    down = tl.cdiv(m, rows)
    i = tl.program_id(0) % down * rows + tl.arange(0, rows)
    j = tl.program_id(0) // down * columns + tl.arange(0, columns)
    d = tl.arange(0, depth)
    from_a = a + i[:, None] * k + d[None, :]
    from_b = b + j[None, :] * k + d[:, None]
    sums = tl.zeros((rows, columns), dtype=kind)
    for first in range(0, k, depth):
        x = tl.load(from_a, mask=(i[:, None] < m) & (d[None, :] < k - first), other=0)
        y = tl.load(from_b, mask=(j[None, :] < n) & (d[:, None] < k - first), other=0)
        sums = tl.dot(x, y, sums, input_precision="ieee", out_dtype=kind)
        from_a += depth
        from_b += depth
    tl.store(out + i[:, None] * n + j[None, :], sums, mask=(i[:, None] < m) & (j[None, :] < n))


@triton.jit
def convolution(
    x, weight, out, pixels, h, w, in_c, out_c, rows: tl.constexpr, columns: tl.constexpr, depth: tl.constexpr
):
    """``out [pixels, out_c]`` of 3x3 filters ``weight [out_c, 3, 3, in_c]``, maps in channels_last, padding 1."""
    down = tl.cdiv(pixels, rows)
    i = tl.program_id(0) % down * rows + tl.arange(0, rows)
    j = tl.program_id(0) // down * columns + tl.arange(0, columns)
    c = tl.arange(0, depth)
    row, column = i // w % h, i % w
    sums = tl.zeros((rows, columns), dtype=tl.float32)
    for tap in range(9):
        y, z = row + tap // 3 - 1, column + tap % 3 - 1
        inside = (i < pixels) & (y >= 0) & (y < h) & (z >= 0) & (z < w)
        from_x = x + (i + (tap // 3 - 1) * w + tap % 3 - 1)[:, None] * in_c + c[None, :]
        from_weight = weight + (j * 9 + tap)[None, :] * in_c + c[:, None]
        for first in range(0, in_c, depth):
            left = tl.load(from_x, mask=inside[:, None] & (c[None, :] < in_c - first), other=0)
            right = tl.load(from_weight, mask=(j[None, :] < out_c) & (c[:, None] < in_c - first), other=0)
            sums = tl.dot(left, right, sums, input_precision="ieee")
            from_x += depth
            from_weight += depth
    at = out + i[:, None] * out_c + j[None, :]
    tl.store(at, sums, mask=(i[:, None] < pixels) & (j[None, :] < out_c))


@triton.jit
def sparse(crow, col, values, x, out, m, columns: tl.constexpr):
    """``out [n, m]`` of a weight in CSR and ``x [k, m]``: a program for each row and strip of columns."""
    row = tl.program_id(0)
    j = tl.program_id(1) * columns + tl.arange(0, columns)
    sums = tl.zeros((columns,), dtype=tl.float32)
    for p in range(tl.load(crow + row), tl.load(crow + row + 1)):
        sums += tl.load(values + p) * tl.load(x + tl.load(col + p) * m + j, mask=j < m)
    tl.store(out + row * m + j, sums, mask=j < m)


def compile_products(folder: Path) -> None:
    """Writes ``<stem> <tile>.cubin`` for each tile of the matrix products."""
    for stem, (element, result, kind) in TYPES.items():
        for *tile, warps, stages in TILES[stem]:
            pointers = {"a": f"*{element}", "b": f"*{element}", "out": f"*{result}"}
            constants = dict(zip(("rows", "columns", "depth", "kind"), (*tile, kind), strict=True))
            path = folder / f"{stem} {'x'.join(map(str, tile))}.cubin"
            write(path, product, pointers, ("m", "n", "k"), constants, (warps, stages))


def compile_convolutions(folder: Path) -> None:
    """The same for the convolution."""
    for *tile, warps, stages in TILES["sgemm"]:
        pointers = dict.fromkeys(("x", "weight", "out"), "*fp32")
        constants = dict(zip(("rows", "columns", "depth"), tile, strict=True))
        path = folder / f"winograd_conv2d {'x'.join(map(str, tile))}.cubin"
        write(path, convolution, pointers, ("pixels", "h", "w", "in_c", "out_c"), constants, (warps, stages))


def compile_sparse(folder: Path) -> None:
    """The same for the sparse product."""
    for columns, warps in [(128, 1), (256, 1), (256, 2), (512, 4)]:
        pointers = {"crow": "*i32", "col": "*i32", **dict.fromkeys(("values", "x", "out"), "*fp32")}
        path = folder / f"csr_matmul {columns}x{warps}.cubin"
        write(path, sparse, pointers, ("m",), {"columns": columns}, (warps, 3))


def write(path: Path, kernel, pointers: dict, sizes: tuple, constants: dict, schedule: tuple) -> None:
    """The cubin of a kernel, its pointers and sizes multiples of 16; ``schedule`` is warps and stages."""
    signature = {**pointers, **dict.fromkeys(sizes, "i32"), **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs=constants,
        attrs={(argument,): [["tt.divisibility", 16]] for argument in range(len(pointers) + len(sizes))},
    )
    options = {"num_warps": schedule[0], "num_stages": schedule[1]}
    compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
    path.write_bytes(compiled.asm["cubin"])


if __name__ == "__main__":
    compile_products(Path(sys.argv[1]))
    compile_convolutions(Path(sys.argv[1]))
    compile_sparse(Path(sys.argv[1]))
    print(triton.__version__)
