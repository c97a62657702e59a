"""Plots: what they say, that they are the same every time, and that they need nothing from elsewhere."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from greenkernels.measure import Kind, Measurement, MixedKindsError
from greenkernels.report import plots
from greenkernels.report.plots import canvas

pytest.importorskip("matplotlib")

SVG = "{http://www.w3.org/2000/svg}"


def quantity(value, unit="s", kind=Kind.MEASURED, spread=0.1):
    return Measurement(value, unit, kind, value * (1 - spread), value * (1 + spread))


def layers(count, name="features.{}.conv"):
    """Every third one stays stock."""
    return [
        plots.LayerBar(name.format(i), quantity(0.02 / (i + 1)), None, None, "stride must be 1, got 2")
        if i % 3 == 2
        else plots.LayerBar(
            name.format(i), quantity(0.02 / (i + 1)), quantity(0.01 / (i + 1)), "quick tile=4"
        )
        for i in range(count)
    ]


def texts(plot):
    return [element.text for element in ElementTree.fromstring(plot.svg).iter(f"{SVG}text")]


LOSER = plots.SpeedUp("post_conv", Measurement(0.56, "", Kind.MEASURED, 0.4, 1.51), 0.1, "loses, noisy")
WINNER = plots.SpeedUp("conv2", Measurement(2.06, "", Kind.MEASURED, 1.99, 2.1), 0.02, "wins")
OPEN = plots.SpeedUp("once", Measurement(1.1, "", Kind.MEASURED, 0.0, math.inf), 0.05, "undecided")

EVERY = {
    "layer_bars": lambda: plots.layer_bars(layers(15)),
    "speed_ups": lambda: plots.speed_ups({"cold": [LOSER, OPEN], "warm": [WINNER]}),
    "error_against_speed": lambda: plots.error_against_speed(
        [plots.ErrorPoint("tile=4", 2.1, 1e-6), plots.ErrorPoint("torch", 1, 0.0)], 1e-5
    ),
    "roofline": lambda: plots.roofline(
        [plots.RooflinePoint("ours", 10, 9e10, 2e11), plots.RooflinePoint("torch", 20, 8e10)],
        quantity(1.7e11, "op/s"),
        quantity(1.5e10, "B/s"),
    ),
    "break_even": lambda: plots.break_even(
        {"2048 to 2048": {1: {0.5: 0.8, 0.9: 3.0}, 64: {0.5: 1.3, 0.9: 4.0}, 8: {0.5: 0.5, 0.9: 0.9}}}
    ),
    "crossover": lambda: plots.crossover(
        {
            "levels 0": {64: 0.9, 2048: 0.95},
            "levels 1": {64: 0.5, 2048: 1.05},
            "levels 2": {64: 1.1, 2048: 0.8},
        }
    ),
    "joules_a_call": lambda: plots.joules_a_call(
        [
            plots.JoulesPair("less", quantity(2.0, "J", Kind.MODELLED), quantity(1.0, "J", Kind.MODELLED)),
            plots.JoulesPair("more", quantity(0.1, "J", Kind.MODELLED), quantity(0.2, "J", Kind.MODELLED)),
        ]
    ),
    "scaling": lambda: plots.scaling({"ours": [{1: 1.0, 2: 0.55}], "torch": [{1: 1.0, 2: 0.6}]}),
}


@pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY)
def test_the_same_data_gives_the_same_bytes(draw):
    assert draw() == draw()


@pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY)
def test_svg_stands_alone_and_speaks(draw):
    plot = draw()
    root = ElementTree.fromstring(plot.svg)
    assert root.find(f"{SVG}title").text == plot.title
    assert root.find(f"{SVG}desc").text == plot.alt
    addresses = {url for url in re.findall(r"https?://[^\"' ]+", plot.svg)}
    assert addresses == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }  # namespaces, never fetched
    assert not re.search(r'(href|src)="(?!#)', plot.svg)
    assert "\\mathdefault" not in plot.svg
    assert plot.png.startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY)
def test_nothing_is_drawn_in_a_colour_that_has_no_dark_form(draw):
    used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", re.sub(r"<style>.*?</style>", "", draw().svg)))
    assert used <= set(canvas.DARK)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_marks_stand_out(dark):
    shade = canvas.DARK.__getitem__ if dark else str
    paper = shade(canvas.PAPER)
    for text in (canvas.INK, canvas.MUTED):
        assert contrast(shade(text), paper) >= 4.5  # WCAG 2.2, 1.4.3
    for mark in (canvas.STOCK, canvas.OURS, canvas.LOSES, canvas.SECOND, canvas.THIRD):
        assert contrast(shade(mark), paper) >= 2.5
    for mark in (canvas.OURS, canvas.LOSES):
        assert contrast(shade(mark), paper) >= 3  # WCAG 2.2, 1.4.11


def test_layers_name_kernels_and_reasons_in_order():
    found = texts(plots.layer_bars(layers(5)))
    assert [t for t in found if t.startswith("features")] == [f"features.{i}.conv" for i in range(5)]
    assert found.count("2.00x  quick tile=4") == 4
    assert "stride must be 1, got 2" in found
    assert any("[ms]" in t for t in found)


def test_one_layer_without_a_time():
    found = texts(plots.layer_bars([plots.LayerBar("a$b$", None, None, None, "")]))
    assert {"a$b$", "stays stock", "no layer was timed"} <= set(found)


def test_many_layers_are_all_drawn_up_to_a_number_that_is_said():
    assert len([t for t in texts(plots.layer_bars(layers(100))) if t.startswith("features")]) == 100
    most = plots.layers.MOST_LAYERS
    found = texts(plots.layer_bars(layers(most + 7)))
    assert len([t for t in found if t.startswith("features")]) == most
    assert any(f"{most} of {most + 7} layers are drawn" in t for t in found)


def test_long_words_are_cut_with_a_mark():
    name = "backbone.body.inner_block.with_a_very_long_name.{}.conv"
    found = texts(plots.layer_bars(layers(3, name)))
    assert any(t.startswith("backbone") and "…" in t and t.endswith(".2.conv") for t in found)
    assert canvas.shortened("abcdefghij", 5) == "ab…ij"
    assert canvas.shortened("abc", 3) == canvas.cut("abc", 3) == "abc"
    assert canvas.cut("abcdefghij", 5) == "abcd…"


def test_what_loses_stands_in_the_same_plot():
    plot = plots.speed_ups({"": [WINNER, LOSER, OPEN]})
    assert {"2.06x  wins", "0.56x  loses, noisy", "1.10x  undecided"} <= set(texts(plot))
    assert plot.alt.startswith("3 ratios with their intervals: 1 faster, 1 slower")


def test_sides_of_the_noise_band():
    assert (WINNER.side, LOSER.side, OPEN.side) == (1, -1, 0)
    within = plots.SpeedUp("a", Measurement(0.95, "", Kind.MEASURED, 0.9, 1.0), 0.1)
    assert within.side == 0


def test_kinds_do_not_mix_in_a_plot():
    with pytest.raises(MixedKindsError):
        plots.layer_bars([plots.LayerBar("a", quantity(1), quantity(1, kind=Kind.MODELLED), "k")])
    with pytest.raises(MixedKindsError):
        plots.speed_ups({"": [WINNER, plots.SpeedUp("b", quantity(1, "", Kind.MODELLED))]})


def test_nothing_to_draw_is_refused():
    for draw in (
        lambda: plots.layer_bars([]),
        lambda: plots.speed_ups({"": []}),
        lambda: plots.error_against_speed([]),
        lambda: plots.roofline([], quantity(1, "op/s"), quantity(1, "B/s")),
        lambda: plots.scaling({"ours": [{1: 1.0}]}),
        lambda: plots.break_even({}),
        lambda: plots.break_even({"layer": {1: {}}}),
    ):
        with pytest.raises(ValueError, match="must"):
            draw()


def test_where_a_sparse_layer_breaks_even():
    assert plots.crossing({0.5: 0.5, 0.7: 2.0, 0.9: 4.0}) == pytest.approx(0.6)  # half way between logarithms
    assert plots.crossing({0.9: 4.0, 0.5: 1.1, 0.7: 0.8}) == pytest.approx(0.7 + 0.2 * 0.138646, abs=1e-5)
    assert plots.crossing({0.5: 1.5, 0.7: 2.0}) == 0.5
    assert plots.crossing({0.5: 0.5, 0.7: 1.0}) is None
    assert "at 50% and less" in EVERY["break_even"]().svg
    assert "never" in EVERY["break_even"]().svg


def test_where_saving_multiplications_pays():
    plot = EVERY["crossover"]()
    assert "levels 0: never faster" in texts(plot)
    assert "levels 1: faster from 2048 on" in texts(plot)
    assert plots.first_win({64: 1.1, 128: 0.9, 256: 1.2, 512: 1.3}) == 256
    assert plots.first_win({64: 1.1, 128: 0.9}) is None
    with pytest.raises(ValueError, match="at least two sizes"):
        plots.crossover({"levels 1": {64: 0.5}})


def test_joules_of_both_sides_have_their_kind():
    plot = EVERY["joules_a_call"]()
    assert "mJ a call, modelled (logarithmic); left is better" in texts(plot)
    assert "ours needs less in 1 of them" in plot.alt
    mixed = plots.JoulesPair("a", quantity(1.0, "J"), quantity(1.0, "J", Kind.MODELLED))
    with pytest.raises(MixedKindsError):
        plots.joules_a_call([mixed])
    with pytest.raises(ValueError, match="must not be empty"):
        plots.joules_a_call([])


def test_files_are_written_whole(tmp_path):
    plot = plots.scaling({"ours": [{1: 1.0, 2: 0.55}]})
    assert [path.name for path in plot.save(tmp_path / "new")] == ["scaling.svg", "scaling.png"]
    assert (tmp_path / "new" / "scaling.png").read_bytes() == plot.png
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'greenkernels\[demo\]'"):
        plots.layer_bars(layers(1))
