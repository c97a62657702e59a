"""The rules of CONTRIBUTING.md that a program can check: layers, stems, sizes, names, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 300
SOURCE_SUFFIXES = {".cpp", ".h", ".inl", ".cu", ".cuh", ".py"}
OURS = ("csrc", "greenkernels", "tests", "bench", "tools", "examples")  # folders with our sources
MADE = ("build", "dist", ".venv", "demo-output", "~")  # first parts of paths that exist only after a command

pytestmark = pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="needs a checkout")


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SOURCE_SUFFIXES and "_csrc" not in path.parts:
                yield path


def pages() -> list[Path]:
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "csrc").rglob("*.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def contracts() -> list[Path]:
    """The contracts of kernels. A header that declares no entry point is a part that contracts share."""
    return [path for path in sorted((ROOT / "csrc/api").glob("*.h")) if "namespace cpu {" in path.read_text()]


def included(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', path.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("folder", ["csrc/api", "csrc/cpu", "csrc/cuda"])
def test_torch_stops_at_ops(folder: str) -> None:
    foreign = re.compile(r"^(torch|ATen|c10|caffe2|pybind11|Python\.h)")
    found = [f"{name_of(p)}: {i}" for p in sources(folder) for i in included(p) if foreign.match(i)]
    assert not found


def test_ops_include_only_the_stable_abi() -> None:
    stable = re.compile(r"^torch/(csrc/stable|headeronly|csrc/inductor/aoti_torch/c)/")
    found = [
        f"{name_of(p)}: {i}"
        for p in sources("csrc/ops", "csrc/cuda_ops")
        for i in included(p)
        if re.match(r"^(torch|ATen|c10)/", i) and not stable.match(i)
    ]
    assert not found


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("api", {"api"}),
        ("cpu", {"api", "cpu"}),
        ("cuda", {"api", "cuda"}),
        ("cuda_ops", {"api", "ops", "cuda_ops"}),
    ],
)
def test_a_layer_includes_only_the_one_below(folder: str, allowed: set[str]) -> None:
    layers = {path.name for path in (ROOT / "csrc").iterdir() if path.is_dir()}
    found = [
        f"{name_of(p)}: {i}"
        for p in sources(f"csrc/{folder}")
        for i in included(p)
        if i.partition("/")[0] in layers - allowed
    ]
    assert not found


@pytest.mark.parametrize("contract", contracts(), ids=lambda path: path.stem)
def test_a_kernel_is_in_every_layer(contract: Path) -> None:
    stem = contract.stem
    wanted = [
        f"csrc/cpu/{stem}.cpp",
        f"csrc/ops/{stem}.cpp",
        f"greenkernels/ops/{stem}.py",
        f"tests/test_{stem}.py",
        f"tests/cpp/test_{stem}.cpp",
        f"bench/test_bench_{stem}.py",
    ]
    # A kernel that outgrew one file is a folder of the same name.
    missing = [
        name for name in wanted if not (ROOT / name).exists() and not (ROOT / name).with_suffix("").is_dir()
    ]
    assert not missing
    on_cuda = "namespace cuda {" in contract.read_text()
    for name in (f"csrc/cuda/{stem}.cu", f"csrc/cuda_ops/{stem}.cpp", f"tests/test_cuda_{stem}.py"):
        assert (ROOT / name).exists() == on_cuda


def test_build_files_name_no_kernel() -> None:
    for name in ("setup.py", "pyproject.toml", "CMakeLists.txt", "Makefile", "greenkernels/_toolchain.py"):
        text = (ROOT / name).read_text()
        assert not [path.stem for path in contracts() if path.stem in text], name


def test_files_stay_within_the_line_budget() -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in sources(*OURS)}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_every_file_says_at_its_top_what_it_is() -> None:
    silent = []
    for path in sources(*OURS):
        text = path.read_text().lstrip()
        if text and not text.startswith(("//", "#!", '"""', 'r"""')):
            silent.append(name_of(path))
    assert silent == []


def test_no_grab_bags() -> None:
    vague = {"utils", "util", "common", "misc", "helpers"}
    names = {part for path in sources(*OURS) for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not vague & names


def test_no_leftovers_in_sources() -> None:
    # An open end needs the number of its issue; a switched-off block belongs in the history, a path of one
    # machine nowhere.
    leftovers = re.compile(
        r"\b(TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))|^\s*#\s*if 0\b|/(home|root|Users|work)/", re.MULTILINE
    )
    found = {name_of(p): leftovers.findall(p.read_text()) for p in sources(*OURS) if p != Path(__file__)}
    assert {name: hits for name, hits in found.items() if hits} == {}


def paths_mentioned(text: str) -> Iterator[str]:
    """Relative link targets, and words in backticks that have the form of a path of this repository."""
    yield from (t for t in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if not re.match(r"[a-z]+:", t))
    word = r"`([\w.~-]+(?:/[\w.-]+)+/?|[\w-]+\.(?:md|py|cpp|h|inl|toml|txt|json|sh))`"
    yield from re.findall(word, re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_paths_in_pages_exist(page: Path) -> None:
    missing = []
    for mentioned in paths_mentioned(page.read_text()):
        inside = mentioned.partition("/")[0] in MADE
        if not inside and not any((base / mentioned).exists() for base in (page.parent, ROOT, ROOT / "csrc")):
            missing.append(mentioned)
    assert missing == []
