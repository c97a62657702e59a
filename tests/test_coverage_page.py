"""tools/coverage: what counts as a line that did not run, and the page that lists them."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "tools" / "coverage").is_dir():
    pytest.skip("needs a checkout", allow_module_level=True)


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "coverage"))
    for name in ("lines", "page"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("page")


def test_runs_of_lines_that_did_not_run(page):
    file = {1: True, 2: False, 4: False, 5: True, 9: False}
    assert list(page.lines.missed(file)) == [(2, 4), (9, 9)]
    assert page.lines.share({"a": file, "b": {1: True}}) == 50


def test_a_line_without_a_reason_fails_the_page(page, monkeypatch, tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "a.py").write_text("x = 1\nif neon:\n    x = 2\n")
    reasons = tmp_path / "reasons.json"
    monkeypatch.setattr(page, "REASONS", reasons)
    counted, all_ran = {"a.py": {1: True, 2: True, 3: False}}, {"b.py": {1: True}}
    many = counted | {"b.py": dict.fromkeys(range(97), True)}
    (tmp_path / "b.py").write_text("\n" * 97)

    reasons.write_text("[]")
    assert page.write(tmp_path, all_ran, many) == 1
    assert "1 unexplained" in capsys.readouterr().out
    reasons.write_text(json.dumps([{"files": "*.py", "line": "neon", "reason": "on Arm alone"}]))
    assert page.write(tmp_path, all_ran, many) == 0
    assert "| `a.py` 3 | on Arm alone |" in (tmp_path / "docs" / "coverage.md").read_text()
    assert page.write(tmp_path, all_ran, counted) == 1  # 67 %


def test_the_committed_page_keeps_the_promise(page):
    text = (ROOT / "docs" / "coverage.md").read_text()
    shares = [float(share) for share in re.findall(r"\| ([\d.]+) % \|", text)]
    assert len(shares) + text.count("| not counted |") == 2
    assert min(shares) >= page.PROMISED
    assert page.NO_REASON not in text
