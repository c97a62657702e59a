"""Plots in few bytes: the same words and marks, the same colours on light and dark screens, nothing from elsewhere."""

import re
import xml.etree.ElementTree as ElementTree
from urllib.parse import unquote

import pytest

from greenkernels.measure import Kind, Measurement
from greenkernels.report import plots
from greenkernels.report.compact import as_address, compact
from greenkernels.report.html import Page
from greenkernels.report.plots.canvas import DARK, INK, LOSES, OURS

pytest.importorskip("matplotlib")
SVG = "{http://www.w3.org/2000/svg}"


def speedup(name, value):
    return plots.SpeedUp(name, Measurement(value, "", Kind.MEASURED, 0.9 * value, 1.1 * value), 0.02)


@pytest.fixture(scope="module")
def plot():
    rows = [speedup('a "b" & <c>\'s 100%', 2.0), speedup("1.23456 loses", 0.5), speedup("x" * 60, 1.0)]
    return plots.speed_ups({"cold": rows, "warm": rows}, "name", "Speed-up")


def elements(svg, kind):
    return list(ElementTree.fromstring(svg).iter(f"{SVG}{kind}"))


def test_words_and_marks_stay(plot):
    small = compact(plot.svg)
    assert len(small) < 0.6 * len(plot.svg)
    for kind in ("text", "title", "desc"):
        assert [e.text for e in elements(small, kind)] == [e.text for e in elements(plot.svg, kind)]
    for kind in ("use", "path", "clipPath"):
        assert len(elements(small, kind)) == len(elements(plot.svg, kind))
    assert compact(plot.svg) == small


def test_coordinates_are_those_of_the_plot_to_a_hundredth(plot):
    def places(svg):
        return [float(e.get(axis)) for e in elements(svg, "use") for axis in "xy"]

    assert places(compact(plot.svg)) == pytest.approx(places(plot.svg), abs=0.0051)


def test_every_name_that_is_referred_to_is_there(plot):
    small = compact(plot.svg)
    there = set(re.findall(r' id="([^"]+)"', small))
    asked = set(re.findall(r'(?:href="#|url\(#)([^")]+)', small))
    assert asked
    assert asked <= there
    assert len(there) == len(re.findall(r' id="', small))


def test_colours_have_their_dark_form(plot):
    small = compact(plot.svg)
    light, dark = small.split("@media", 1)
    for colour in (INK, OURS, LOSES):
        names = re.findall(rf"\.(c\d+)\{{[^}}]*fill:{colour}", light)
        assert names
        for name in names:
            assert re.search(rf"\.{name}\{{[^}}]*fill:{DARK[colour]}", dark)


def test_address_gives_the_plot_back(plot):
    address = as_address(compact(plot.svg))
    assert not set('"<>\n#') & set(address)
    text = unquote(address.removeprefix("data:image/svg+xml,").replace("&amp;", "&"))
    assert [e.text for e in elements(text, "text")] == [e.text for e in elements(plot.svg, "text")]
    assert Page("t").plot(plot).render().count("data:image/svg+xml,") == 1
