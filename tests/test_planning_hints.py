"""Every reason for which a layer stays has a hint, every hint a section of the page, and `explain` prints both."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from quick_kernel import OPTIONS, X, conv, net, quick_kernel  # noqa: F401
from torch import nn

from greenkernels.planning import explain, optimize
from greenkernels.planning.candidates import registered
from greenkernels.planning.hints import HINTS, PAGE, hint_for

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "greenkernels"

# Where reasons are made: file -> functions, None for all. Of a function, what it returns, raises, notes or keeps.
PRODUCERS = {
    "planning/survey.py": None,
    "planning/drafts.py": {"draft", "why_none", "keep_within_memory"},
    "planning/certify.py": {"_why_silent", "prove_calls"},
    "planning/quality.py": {"broken"},
    "planning/links.py": {"link_layers", "_note", "note_slower"},
    "planning/graph/blocks.py": {"_pair", "_why_not"},
    "planning/request.py": {"spent"},
    "planning/planner.py": {"plan", "choose", "accept", "plan_by_rules", "convert_drafts"},
    "measure/checks.py": {"in_full", "compare_samples", "require_plain"},
    "nn/conversion.py": {"check_attributes", "check_stock"},
    **{f"planning/candidates/{stem.name}.py": {"refuses", "cold_start"} for stem in registered()},
    **{f"nn/{stem.name}.py": {"_set_options", "__init__"} for stem in registered()},
}
# Strings of these functions that say what was done, not why something stays.
NO_REASON = re.compile(
    r"^replaced |^times include|^chosen for|^kept the stock network: …$|^(in )?…\W+(…|…, …)$|^ and $"
    r"|^the whole network$|^joules of the whole network$"
)


def text_of(node: ast.AST) -> str | None:
    """The text of a string, with … for each value put into it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def strings(node: ast.AST) -> Iterator[str]:
    """Texts below a node, but for the parts of a text."""
    found = text_of(node)
    if found is not None:
        yield found
        return
    for child in ast.iter_child_nodes(node):
        yield from strings(child)


def reasons_of(path: Path, wanted: set[str] | None) -> Iterator[str]:
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef) and (wanted is None or function.name in wanted):
            body = function.body[1:] if ast.get_docstring(function) else function.body
            for statement in body:
                yield from (text for text in strings(statement) if " " in text.strip())


def every_reason() -> list[str]:
    if not (ROOT / "csrc").is_dir():
        pytest.skip("needs a checkout")
    found = {"not measured: interrupted", "GREENKERNELS_DISABLE=1", "not measured"}
    for name, wanted in PRODUCERS.items():
        if (SOURCE / name).exists():
            found |= {text for text in reasons_of(SOURCE / name, wanted) if not NO_REASON.search(text)}
    return sorted(found)


def test_every_reason_has_a_hint() -> None:
    reasons = every_reason()
    assert len(reasons) > 50
    assert [reason for reason in reasons if hint_for(reason) is None] == []


def test_every_hint_has_a_reason() -> None:
    texts = [*every_reason(), "StrassenLinear levels=0: no difference, 1.01x", "raised RuntimeError: no"]
    assert {hint_for(text) for text in texts} >= set(HINTS)


def test_page_and_hints_have_the_same_sections() -> None:
    page = ROOT / PAGE
    if not page.exists():
        pytest.skip("needs a checkout")
    headings = re.findall(r"^### (.*)$", page.read_text(), re.MULTILINE)
    sections = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert sections == [hint.section for hint in HINTS]


@pytest.mark.usefixtures("quick_kernel")
def test_explain_prints_the_hints() -> None:
    class Mine(nn.Conv2d):
        pass

    fast = optimize(net(Mine(8, 8, 3, padding=1), conv(8, 8)), X, **OPTIONS)
    lines = str(explain(fast)).splitlines()
    at = lines.index(f"why not more, see {PAGE}:")
    assert lines[at + 1].startswith("  the-layer-means-something-else (0): make it a plain layer")


@pytest.mark.usefixtures("quick_kernel")
def test_nothing_stays_nothing_is_printed() -> None:
    assert "why not more" not in str(explain(optimize(net(conv(8, 8)), X, **OPTIONS)))
