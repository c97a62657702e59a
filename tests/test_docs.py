"""The pages keep their word: their Python runs, what they name exists, the errors they print are measured again."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from greenkernels import _build, _nvcc, _toolchain, cli

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "docs").is_dir():
    pytest.skip("needs a checkout", allow_module_level=True)

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
QUICK_NOTEBOOKS = {
    "winograd_conv2d",
    "kernel_variant",
    "prune_and_retrain",
}  # the others run in `make test-all` alone
FIGURES = sorted((ROOT / "docs/figures").glob("*.svg"))
SOURCES = [*sorted((ROOT / "greenkernels").rglob("*.py")), ROOT / "setup.py"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> Iterator[tuple[int, str, str]]:
    """(line, what stands behind the language, text) of each fenced block in that language."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(rf"^```{language}\b([^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start(2)), found[1].strip(), found[2]


def commands(page: Path) -> list[str]:
    """Lines of shell blocks and of indented blocks, and what stands in single backticks."""
    text = page.read_text(encoding="utf-8")
    lines = [line for _, _, block in blocks(page, "sh") for line in block.splitlines()]
    lines += re.findall(r"^ {4}(make .*)$", text, re.MULTILINE)
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [part.strip() for line in lines for part in line.partition(" #")[0].split("&&")]


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files land in a scratch folder, figures nowhere; torch's settings are kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def run(code: str, path: Path, line: int, namespace: dict[str, object]) -> None:
    exec(compile("\n" * line + code, str(path), "exec"), namespace)  # an error names the line of the page


def can_compile() -> bool:
    try:
        _toolchain.find_compiler()
        _toolchain.raw_extension()
    except _toolchain.BuildError:
        return False
    return True


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page, "python"))], ids=name_of)
def test_python_runs(page: Path) -> None:
    namespace: dict[str, object] = {"__name__": "page"}
    for line, remark, code in blocks(page, "python"):
        needs = {"": True, "needs=compiler": can_compile(), "needs=nvcc": _nvcc.find_nvcc() is not None}
        if needs[remark]:
            run(code, page, line, namespace)


def cells(notebook: Path) -> list[dict[str, object]]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


@pytest.mark.slow
@pytest.mark.usefixtures("sandbox")
@pytest.mark.filterwarnings("ignore:.*non-interactive:UserWarning")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_notebook_runs(notebook: Path, request: pytest.FixtureRequest) -> None:
    if notebook.stem not in QUICK_NOTEBOOKS and not request.config.getoption("--long"):
        pytest.skip("too long for CI; with --long")
    pytest.importorskip("matplotlib")
    pytest.importorskip("PIL")
    if notebook.stem == "kernel_variant" and not can_compile():
        pytest.skip("no compiler")
    namespace: dict[str, object] = {"__name__": "notebook"}
    for cell in cells(notebook):
        if cell["cell_type"] == "code":
            run("".join(cell["source"]), notebook, 0, namespace)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_notebook_is_stripped(notebook: Path) -> None:
    for cell in cells(notebook):
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def anchors(page: Path) -> set[str]:
    """The ids that headings get on the web."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = {
        found[1] for line in commands(page) if (found := re.fullmatch(r"make ([a-z-]+)( [A-Z]+=.*)?", line))
    }
    assert wanted <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    modules = cli.verbs()
    for line in commands(page):
        found = re.match(r"(?:\.venv/bin/)?greenkernels ([a-z]+)\b(.*)", line)
        if not found:
            continue
        assert found[1] in modules, line
        verb = Path(importlib.util.find_spec(modules[found[1]]).origin).read_text()
        for option in re.findall(r"--([a-z-]+)", found[2]):
            assert f'"--{option}"' in verb or re.search(
                rf"\b{option.replace('-', '_')}: Annotated\[", verb
            ), line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_extras_exist(page: Path) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for extras in re.findall(r"(?:greenkernels|\.)\[([a-z,]+)\]", page.read_text(encoding="utf-8")):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_environment_variables_are_those_of_the_source() -> None:
    name = r"\bGREENKERNELS_[A-Z]+\b"
    source = [*SOURCES, *(ROOT / "csrc").rglob("*.cpp")]
    read = {word for path in source for word in re.findall(rf'"({name})"', path.read_text())}
    explained = set(re.findall(rf"^\| `({name})`", (ROOT / "docs/install.md").read_text(), re.MULTILINE))
    assert explained == read
    for page in PAGES:
        assert set(re.findall(name, page.read_text())) <= read, page


def messages_of_the_source() -> list[str]:
    """Every string of the build code, ``…`` for each value put into it."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return [*found, (ROOT / "csrc/cpu/isa.cpp").read_text()]


def test_quoted_messages_exist() -> None:
    table = (ROOT / "docs/install.md").read_text(encoding="utf-8").partition("## Messages")[2]
    quoted = [
        m for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for m in re.findall(r"`([^`]+)`", row)
    ]
    assert len(quoted) > 10
    known = " ".join("\n".join(messages_of_the_source()).split())
    for message in quoted:
        for part in message.split("…"):
            assert part.strip(" (:)") in known, message


def test_readme_has_one_place_for_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- results:(\w+) -->", text) == ["begin", "end"]


@pytest.mark.parametrize("figure", FIGURES, ids=name_of)
def test_figure_is_well_formed(figure: Path) -> None:
    root = ElementTree.parse(figure).getroot()
    assert root.tag.endswith("svg")
    assert root.find("{*}title") is not None  # read to those who cannot see it


@pytest.fixture(scope="module")
def measure_error() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_error", ROOT / "docs/measure_error.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed_errors(page: Path, first: str) -> list[float]:
    """The numbers in the table row that begins with that cell."""
    row = re.search(rf"^\| {re.escape(first)} \|(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [float(number) for number in re.findall(r"\d\.\de-\d\d", row[1])]


# The level of the instruction set changes the order of roundings; that moved these errors by 13 % at most. torch's
# own kernel, another one on each kind of CPU and in each version, gets a factor of 2.
SLACK, TORCH_SLACK = 1.2, 2.0


@pytest.mark.parametrize("channels", [16, 128, 512])
def test_printed_errors_of_kernels_are_right(measure_error: ModuleType, channels: int) -> None:
    if not _build.ensure_loaded():
        pytest.skip("no compiled kernels")
    measured = list(measure_error.kernel_errors(channels).values())
    slacks = [TORCH_SLACK, SLACK, SLACK, SLACK]
    for printed, error, slack in zip(
        printed_errors(measure_error.PAGE, str(channels)), measured, slacks, strict=True
    ):
        assert printed / slack <= error <= printed * slack


def test_printed_errors_of_points_are_right(measure_error: ModuleType) -> None:
    for name, pairs in measure_error.POINTS.items():
        (printed,) = printed_errors(measure_error.PAGE, name)
        assert printed / SLACK <= measure_error.points_error(pairs) <= printed * SLACK


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_printed_errors_of_half_precision_are_right(measure_error: ModuleType, name: str) -> None:
    if not _build.ensure_loaded():
        pytest.skip("no compiled kernels")
    printed, measured = printed_errors(measure_error.PAGE, name), measure_error.half_errors(name).values()
    assert all(p / SLACK <= error <= p * SLACK for p, error in zip(printed, measured, strict=True))


def test_printed_errors_of_rounded_factors_are_right(measure_error: ModuleType) -> None:
    for name in measure_error.FACTORS:
        printed = printed_errors(measure_error.PAGE, name)
        measured = measure_error.factor_errors(name).values()
        assert all(p / SLACK <= error <= p * SLACK for p, error in zip(printed, measured, strict=True))
