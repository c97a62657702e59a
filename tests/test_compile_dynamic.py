"""torch.compile without graph breaks and with sizes that change: every op and module that the fuzzer knows."""

import sys
from pathlib import Path

import pytest
import torch
from conv_cases import COMPILE_BACKEND

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools" / "fuzz"))
import cases

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR")
# Without a test of their own that compiles them so; the others take too long for CI.
HERE_ALONE = {
    "codebook_gemm",
    "csr_conv2d",
    "int8_winograd_conv2d",
    "matmul",
    "separable_conv2d",
    "strassen_conv2d",
    "strassen_gemm",
}
# The first way to call these looks at values of the weight, or takes parts of torch's sparse tensors.
PACKED = ("csr_matmul", "int8_winograd_conv2d")
NAMES = [name if name in HERE_ALONE else pytest.param(name, marks=pytest.mark.long) for name in cases.MAKERS]


def finite(name):
    """The first problem around the sizes of tiles, of several rows or images and finite values."""
    for number in range(1000):
        draw = cases.draw_of(name, number)
        if draw[1:3] == (cases.MAKERS[name][1][0], "edge"):
            problem = cases.Draw(*draw).problem
            if problem.x.shape[0] > 1 and (not problem.x.is_floating_point() or problem.x.isfinite().all()):
                return problem
    raise AssertionError(name)


@pytest.mark.parametrize("name", NAMES)
def test_compiles_without_graph_breaks_and_with_dynamic_sizes(name):
    threads = torch.get_num_threads()
    problem = finite(name)
    torch.set_num_threads(threads)  # as it was
    torch._dynamo.reset()
    call = problem.calls[name in PACKED]
    compiled = torch.compile(call, backend=COMPILE_BACKEND, fullgraph=True, dynamic=True)
    rows = torch.cat([problem.x, problem.x[:1]])
    with torch.no_grad():
        for x in (rows, problem.x, rows[:2]):
            if problem.about.get("epilogue", {}).get("skip") is not None and x is not problem.x:
                continue  # what is added is as large as the first output
            torch.testing.assert_close(compiled(x), call(x))
