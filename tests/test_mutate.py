"""tools/mutate: what it changes and in which order; a toy tree built, changed and tested; the rows and the page."""

import importlib
import itertools
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "tools" / "mutate").is_dir():
    pytest.skip("needs a checkout", allow_module_level=True)


@pytest.fixture
def tool(monkeypatch):
    """A module of tools/mutate by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "mutate"))
    for name in ("mutations", "limits", "programs", "record"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module


def test_mutations_change_code_alone(tool):
    text = (
        "#if LEVEL < 2  // 1 < 2\n"
        'const char* kName = "1 < 2";\n'
        "static_assert(sizeof(int) == 4);\n"
        "constexpr int kMinTaskFlops = 1 << 20;  // speed alone\n"
        "__builtin_prefetch(line + 64, 0, 2);\n"
        "int f(std::vector<int> a, int* b) { return a[x2 + 1] <= *b; }\n"
        "#endif\n"
    )
    found = {(m.kind, m.line, m.old) for m in tool("mutations").of_text(text, "a.cpp", random.Random(0))}
    assert found == {("constant", 6, "1"), ("comparison", 6, "<="), ("term", 6, "+")}


def test_the_order_is_fixed_and_a_mutation_is_one_token(tool):
    mutations = tool("mutations")
    first = list(itertools.islice(mutations.drawn(ROOT, "csrc/cpu", 16), 100))
    assert first == list(itertools.islice(mutations.drawn(ROOT, "csrc/cpu", 16), 100))
    assert len({(m.file, m.at) for m in first}) == 100
    assert {m.kind for m in first} == set(mutations.PLACES)
    for m in first:
        text = (ROOT / m.file).read_text()
        before, after = text.splitlines(), m.applied(text).splitlines()
        assert [i for i, pair in enumerate(zip(before, after, strict=True), 1) if len(set(pair)) > 1] == [
            m.line
        ]


@pytest.fixture
def toy(tool, tmp_path):
    """A kernel with a loop, one more that no test reaches, and a test; built."""
    if not (shutil.which("c++") and shutil.which("ar")):
        pytest.skip("needs a compiler")
    programs = tool("programs")
    sources = {
        "part.h": "inline int next(int i) { return i + 1; }\n",
        "sum/forward.c": '#include "../part.h"\nint sum(int n) {\n'
        "  int s = 0;\n  for (int i = 0; i < n; i = next(i)) s += i;\n"
        "  int unused = 7;\n  return s + (n > 90 ? 5 : 0);\n}\n",
        "other/forward.c": "int other(int n) { return n < 3; }\n",
        "test_sum.c": "int sum(int n);\nint main() { return sum(5) != 10; }\n",
    }
    units = {}
    for name, text in sources.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        if name.endswith(".c"):
            reads = {path, tmp_path / "part.h"} if name.startswith("sum") else {path}
            command = ["c++", "-O1", "-x", "c++", "-c", str(path)]
            units[name] = programs.Unit(path.with_suffix(".o"), command, tmp_path, reads)
            subprocess.run([*command, "-o", str(units[name].object)], check=True)
    kernels = programs.thin_archive(
        tmp_path / "kernels.a", [units["sum/forward.c"].object, units["other/forward.c"].object]
    )
    names = {unit.object: name for name, unit in units.items()}
    found = programs.members("c++", units["test_sum.c"].object, [str(kernels)], names)
    assert found == ["sum/forward.c"]  # and not the other file of this name
    test = programs.Program(tmp_path / "test_sum", ["test_sum.c", *found], [str(kernels)], "test_sum.c")
    scratch = tmp_path / "changed"
    scratch.mkdir()
    return programs.Built(tmp_path, scratch, units, [test])


def test_outcomes_of_a_toy(tool, toy, monkeypatch):
    mutations = tool("mutations")
    monkeypatch.setattr(tool("programs"), "LEAST_S", 1)

    def outcome(file, old, new):
        text = (toy.tree / file).read_text()
        changed = mutations.Mutation("", file, 0, text.index(old), old, new)
        time = (toy.tree / file).stat().st_mtime_ns
        told = toy.outcome(changed)
        assert (toy.tree / file).read_text() == text
        assert (toy.tree / file).stat().st_mtime_ns == time
        return told

    assert outcome("sum/forward.c", "i < n", "i <= n") == {
        "result": "caught",
        "by": "test_sum",
        "how": "exit 1",
    }
    assert outcome("part.h", "1", "2")["result"] == "caught"  # through what includes it
    assert outcome("part.h", "1", "0")["how"] == "CPU time"  # without end
    assert outcome("sum/forward.c", "90", "91") == {"result": "survived"}
    assert outcome("sum/forward.c", "7", "8") == {"result": "changes no code"}
    assert outcome("sum/forward.c", "5", "5 +") == {"result": "does not compile"}


def test_a_standstill_ends(tool):
    sleeper = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
    assert tool("limits").failure(sleeper, 5, standstill_s=0.1) == "standstill"
    assert tool("limits").failure((sys.executable, "-S", "-c", "import os; os.abort()"), 5) == "signal 6"


def test_rows_of_changed_files_are_taken_again_and_the_page_counts(tool, tmp_path):
    record = tool("record")
    (tmp_path / "a.h").write_text("1")
    row = {
        "file": "a.h",
        "line": 1,
        "at": 0,
        "old": "1",
        "new": "2",
        "sha256": record.digest(tmp_path / "a.h"),
    }
    results = ("caught", "caught", "survived", "survived", "does not compile")
    rows = [row | {"at": at, "result": result} for at, result in enumerate(results)]
    record.write(tmp_path / "rows.json", 16, rows)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.h", "rows.json"]
    assert record.known(tmp_path, tmp_path / "rows.json") == rows
    reasons = [row | {"at": 2, "reason": "the same by symmetry"}]
    assert record.summary(rows, reasons) == "2 of 3 caught (66.7 %); 1 equivalent; 1 drawn again"
    page = record.page(f"# A\n\n{record.BEGIN}\nold\n{record.END}\nrest\n", rows, reasons)
    assert "old" not in page
    assert page.endswith("rest\n")
    assert "the same by symmetry" in page
    assert page.count("no test notices") == 1
    (tmp_path / "a.h").write_text("3")
    assert record.known(tmp_path, tmp_path / "rows.json") == []


def test_the_committed_page_counts_the_committed_rows(tool):
    record = tool("record")
    results = ROOT / "docs" / "mutations.json"
    rows = json.loads(results.read_text())["rows"] if results.exists() else []
    reasons = json.loads((ROOT / "tools" / "mutate" / "reasons.json").read_text())
    text = (ROOT / "docs" / "mutations.md").read_text()
    assert record.page(text, rows, reasons) == text
