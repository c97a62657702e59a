"""The figures of the docs' home page: who is in them, and that what is committed is what the rows make."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from bench_rows import row, run_of

from greenkernels.report import home

pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parent.parent


def words(plot) -> str:
    return " ".join(element.text or "" for element in ElementTree.fromstring(plot.svg).iter())


@pytest.fixture
def rows(tmp_path):
    """A checkout without sources, and three runs of a layer that wins and one that loses."""
    (tmp_path / "csrc").mkdir()
    for day in (1, 2, 3):
        made = []
        for case, ours in (("wins", 0.05), ("loses", 0.2)):
            about = {"suite": "winograd_conv2d", "case": case, "max_relative_error": 1e-6}
            made += [
                row("torch NCHW", 0.1 + day * 1e-4, **about),
                row("greenkernels tile=4 NCHW", ours, ours=True, **about),
            ]
        run_of(made, day).save(tmp_path / f"run-{day}.json")
    return tmp_path


def test_losers_stand_beside_winners(rows):
    drawn = {plot.name: plot for plot in home.figures(rows, rows)}
    assert set(drawn) == {"home-energy", "home-speed-ups-1", "home-errors"}
    assert "1 faster, 1 slower" in drawn["home-speed-ups-1"].alt
    for word in ("wins", "loses", "0.50x"):
        assert word in words(drawn["home-speed-ups-1"])
    assert "tile=4" in words(drawn["home-errors"])


def test_they_fit_a_phone(rows):
    for plot in home.figures(rows, rows):
        width = ElementTree.fromstring(plot.svg).get("width")
        assert float(width.removesuffix("pt")) <= 72 * home.WIDTH


def test_energy_is_split_and_the_same_every_time():
    one, other = home.energy_split(), home.energy_split()
    assert one == other
    assert all(word in words(one) for word in ("compute", "memory", "mJ a call, modelled", "tile 4"))


@pytest.mark.skipif(not (ROOT / "bench/results").is_dir(), reason="needs a checkout")
def test_every_figure_of_the_page_can_be_drawn_from_committed_rows():
    page = (ROOT / "docs/README.md").read_text()
    names = {plot.name for plot in home.figures(ROOT, ROOT / "bench/results")}
    assert names == {f"home-{part.split('.svg')[0]}" for part in page.split("figures/home-")[1:]}
