"""Compiles Triton's matrix product for compute capability 8.0, which needs no GPU: a cubin for each tile in a folder.

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


def compile_into(folder: Path) -> None:
    """Writes ``<stem> <tile>.cubin`` for each."""
    target = GPUTarget("cuda", 80, 32)
    names = ("rows", "columns", "depth", "kind")
    for stem, (element, result, kind) in TYPES.items():
        sizes = dict.fromkeys(("m", "n", "k"), "i32")
        signature = {"a": f"*{element}", "b": f"*{element}", "out": f"*{result}", **sizes}
        signature |= dict.fromkeys(names, "constexpr")
        for *tile, warps, stages in TILES[stem]:
            source = ASTSource(
                fn=product,
                signature=signature,
                constexprs=dict(zip(names, (*tile, kind), strict=True)),
                attrs={(argument,): [["tt.divisibility", 16]] for argument in range(6)},
            )
            options = {"num_warps": warps, "num_stages": stages}
            binary = triton.compile(source, target=target, options=options).asm["cubin"]
            (folder / f"{stem} {'x'.join(map(str, tile))}.cubin").write_bytes(binary)
    print(triton.__version__)


if __name__ == "__main__":
    compile_into(Path(sys.argv[1]))
