"""What the long run does: one entry a step, in order. A step passes if its command exits with 0."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """One command of the long run, started in the root of the checkout with .venv/bin first on PATH."""

    name: str
    what: str
    command: tuple[str, ...]


STEPS = (
    Step("ci", "what CI runs", ("bash", ".ci/run")),
    Step(
        "first-use",
        "the tests of every kernel on the binary that is built on first use",
        ("bash", "tools/long_tests/first_use.sh"),
    ),
    Step(
        "architectures",
        "every network of torchvision, timm and transformers on another torch",
        ("make", "architectures", "ARGS=--all"),
    ),
    Step(
        "recipes",
        "greenkernels compress: every ready recipe, and one killed at every step by both signals",
        ("python", "-m", "pytest", "--long", "tests/test_compress_killed.py", "tests/test_compress_ready.py"),
    ),
    Step(
        "distributed",
        "layers under DDP, FSDP2 and tensor parallelism on four processes",
        ("python", "-m", "pytest", "--long", "tests/test_distributed.py"),
    ),
    Step(
        "notebooks",
        "every notebook of examples, each in less than two minutes on two cores",
        ("python", "-m", "pytest", "-q", "--long", "--durations=0", "-k", "notebook", "tests/test_docs.py"),
    ),
    Step(
        "site",
        "the site of the pages, strictly, and pictures of it on a phone and a desktop; needs chromium",
        ("bash", "-c", "make docs && python tools/site/screenshots.py"),
    ),
    Step(
        "newcomer",
        "the README's first command in a fresh clone, and the demo's report that comes out",
        ("bash", "tools/newcomer.sh"),
    ),
    Step(
        "faults",
        "every allocation of every op and module failing once, and each compiled with dynamic sizes",
        (
            "python",
            "-m",
            "pytest",
            "--long",
            "tests/test_fault_injection.py",
            "tests/test_compile_dynamic.py",
            "tests/test_fuzz.py",
        ),
    ),
    Step("fuzz", "ops against float64 on random cases, for 30 minutes", ("make", "fuzz")),
    Step("threads", "the C++ tests under ThreadSanitizer", ("make", "test-threads")),
    Step("memory", "the C++ tests at the scalar level under valgrind", ("make", "test-memory")),
    Step("addresses", "the Python tests with the kernels under AddressSanitizer", ("make", "test-addresses")),
    Step("coverage", "lines that the tests run, into docs/coverage.md", ("make", "coverage")),
    Step("mutate", "random changes of the kernels that the C++ tests have to notice", ("make", "mutate")),
    Step("arm", "the C++ tests of all kernels on 64-bit Arm, under qemu", ("make", "test-arm")),
    Step(
        "arm-counts",
        "instructions that the kernels execute on 64-bit Arm, against those of their ideal",
        ("python", "tools/arm_counts"),
    ),
    Step(
        "arm-wheel",
        "the wheel for 64-bit Arm: cross-compiled, audited, imported and run under qemu",
        ("python", "tools/arm_wheel", "--smoke"),
    ),
    Step(
        "versions",
        "the one wheel in every Python and the oldest and newest torch that it promises",
        ("make", "versions"),
    ),
)
