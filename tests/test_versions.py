"""The page of installation says of each Python and torch what docs/versions.json says."""

import json
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
if not (DOCS / "versions.json").is_file():
    pytest.skip("needs a checkout", allow_module_level=True)

FOUND = json.loads((DOCS / "versions.json").read_text())


def test_every_pair_passed():
    assert FOUND["wheel"].startswith("greenkernels-")
    assert "cp310-abi3" in FOUND["wheel"]
    assert [row for row in FOUND["rows"] if not row["passed"]] == []


def test_the_page_has_a_row_for_each_pair():
    page = (DOCS / "install.md").read_text()
    for row in FOUND["rows"]:
        outcome = "refused" if "message" in row else "passed"
        assert f"| {row['python']} | {row['torch']} | {outcome} |" in page
    assert FOUND["date"] in page


def test_the_floor_and_something_newer_are_there():
    torches = {tuple(map(int, row["torch"].split("+")[0].split(".")[:2])) for row in FOUND["rows"]}
    assert min(torches) < (2, 10) < max(torches)
    assert (2, 10) in torches
    for row in FOUND["rows"]:
        assert ("message" in row) == (tuple(map(int, row["torch"].split(".")[:2])) < (2, 10))
