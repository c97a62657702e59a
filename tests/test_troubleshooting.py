"""The pages for when something is wrong have a section for each finding and each refusal, and are named there."""

import ast
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from greenkernels import cli, doctor
from greenkernels._build import BuildStatus

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "docs").is_dir():
    pytest.skip("needs a checkout", allow_module_level=True)
PAGE = ROOT / doctor.PAGE


def sections(heading: str) -> set[str]:
    """Anchors of the sections under that heading."""
    part = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    titles = re.findall(r"^### (.*)$", part, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_finding_has_a_section_and_every_section_a_finding() -> None:
    assert {finding.section for finding in doctor.diagnose().findings} == sections("Findings")


def test_every_kind_of_build_and_every_variable_has_a_row() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert set(rows) == {*doctor._MEANING, *doctor.ENVIRONMENT}


def test_the_doctor_names_the_sections_of_what_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor.Diagnosis(
        BuildStatus("plain-torch", "no C++ compiler", "apt-get install g++"),
        (doctor.Finding("torch", "2.13", True), doctor.Finding("C++ compiler", "none", False)),
        "apt-get install g++",
    )
    monkeypatch.setattr("greenkernels.doctor_command.diagnose", lambda build: found)
    assert (
        f"more: {doctor.PAGE}#c-compiler\n"
        in CliRunner().invoke(cli.build_app(["doctor"]), ["doctor"]).output
    )


def test_nothing_to_mend_nothing_more_to_read() -> None:
    findings = (doctor.Finding("cache", "not built", False),)
    assert doctor.Diagnosis(BuildStatus("ahead-of-time", ""), findings, "").more == ()


def test_every_refusal_to_plan_is_on_the_page() -> None:
    page = (ROOT / "docs/why_not_faster.md").read_text()
    quoted = re.findall(r"^\| `(model must [^`]+)` \|", page, re.MULTILINE)
    tree = ast.parse((ROOT / "greenkernels/planning/refusals.py").read_text())
    raised = [node.exc.args[0] for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    for message in raised:
        parts = [part.value if isinstance(part, ast.Constant) else "…" for part in message.values]
        text = "".join(parts).removeprefix("…: ").split(";")[0].split(", whose")[0]
        assert any(re.sub("…", "", row).startswith(re.sub("….*", "", text)) for row in quoted), text
    assert len(quoted) == len(raised)
