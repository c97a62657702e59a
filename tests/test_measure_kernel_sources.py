"""Hashes of the kernels' sources: what makes rows stale, and what leaves them be."""

import pytest

from greenkernels.measure import checkout, csrc_hash, hash_of_suite, kernel_facts
from greenkernels.measure.kernel_sources import stem_hashes

FILES = {
    "api/fold.h": "int fold(int);",
    "api/fold_twice.h": "int fold_twice(int);",
    "api/spin.h": "int spin(int);",
    "cpu/fold/forward.cpp": '#include "api/fold.h"\n#include "cpu/parallel.h"',
    "cpu/fold/plan.h": "int plan;",
    "cpu/fold_twice.cpp": '#include "api/fold.h"\n#define GK_KERNEL "cpu/fold_twice.inl"\n',
    "cpu/fold_twice.inl": "int body;",
    "cpu/parallel.cpp": "int threads;",
    "cpu/parallel.h": "void parallel();",
    "cpu/spin.cpp": '#include "api/spin.h"',
    "ops/fold.cpp": '#include "api/fold.h"',
    "ops/fold_twice.cpp": '#include "api/fold_twice.h"',
    "ops/library.cpp": "",
    "ops/spin.cpp": '#include "api/spin.h"',
}


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "csrc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_hash_of_all_kernels_sees_contents_and_names(tmp_path):
    (tmp_path / "csrc").mkdir()
    file = tmp_path / "csrc" / "a.cpp"
    file.write_text("int a;")
    first = csrc_hash(tmp_path)
    (tmp_path / "csrc" / "notes.md").write_text("no kernel")
    assert csrc_hash(tmp_path) == first
    file.write_text("int b;")
    second = csrc_hash(tmp_path)
    file.rename(tmp_path / "csrc" / "b.cpp")
    assert len({first, second, csrc_hash(tmp_path)}) == 3


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("cpu/spin.cpp", {"spin"}),
        ("ops/spin.cpp", {"spin"}),
        ("ops/library.cpp", set()),
        ("cpu/fold_twice.inl", {"fold_twice"}),  # named by a macro alone
        ("api/fold.h", {"fold", "fold_twice"}),
        ("cpu/fold/plan.h", {"fold", "fold_twice"}),  # a stem that is called comes as a whole
        ("cpu/parallel.cpp", {"fold", "fold_twice"}),  # the file that defines what a header declares
    ],
)
def test_a_change_makes_stale_what_is_made_of_it(root, changed, stale):
    before = stem_hashes(root)
    assert before.keys() == {"fold", "fold_twice", "spin"}
    (root / "csrc" / changed).write_text("int other;" + FILES[changed])
    after = stem_hashes(root)
    assert {stem for stem in before if before[stem] != after[stem]} == stale


def test_a_suite_has_the_hash_of_its_stem_and_a_network_that_of_all():
    facts = {"csrc_hash": "all", "stem_hashes": {"fold": "one", "fold_twice": "two"}}
    suites = ("fold", "fold_twice", "fold_half", "fold_twice_backward", "networks", "folder")
    assert [hash_of_suite(facts, suite) for suite in suites] == ["one", "two", "one", "two", "all", "all"]
    assert (
        hash_of_suite({"csrc_hash": "all"}, "fold") == "all"
    )  # rows from before there were hashes for stems


@pytest.mark.skipif(checkout() is None, reason="the installed package has no sources")
def test_each_kernel_of_this_checkout_has_its_hash():
    hashes = kernel_facts(checkout())["stem_hashes"]
    assert {"winograd_conv2d", "strassen_gemm", "csr_matmul", "int8_gemm"} <= hashes.keys()
    assert len(set(hashes.values())) == len(hashes)
