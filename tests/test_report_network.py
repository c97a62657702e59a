"""The page of a network: its first sentence, its tables, and that it needs nothing from elsewhere."""

import math
import re
import sys
from html.parser import HTMLParser

import pytest

from greenkernels.measure import Kind, Measurement, MixedKindsError, Turns
from greenkernels.planning.plans import LayerPlan, NetworkVerdict, Plan
from greenkernels.report.network_page import NetworkResult, Picture, network_page
from greenkernels.report.network_result import interval, summary, warnings


def seconds(value, kind=Kind.MEASURED):
    return Measurement(value, "s", kind, 0.95 * value, 1.05 * value)


def joules(value, kind=Kind.MODELLED):
    return Measurement(value, "J", kind, 0.95 * value, 1.05 * value)


def times(low, value, high):
    return Measurement(value, "", Kind.MEASURED, low, high)


def layers(count):
    kept = LayerPlan(
        ("stem",), "Conv2d(3, 64, 7)", before=seconds(0.004), reason="kernel_size must be (3, 3)"
    )
    names = [(f"block.{i}.conv",) for i in range(count - 1)]
    options = {"before": seconds(0.02), "after": seconds(0.01), "error": 1e-6}
    return [kept, *(LayerPlan(n, "Conv2d(64, 64, 3)", "quick", {"tile": 4}, **options) for n in names)]


def won(count=4, **verdict):
    facts = {
        "stock": seconds(0.1),
        "converted": seconds(0.05),
        "speedup": times(1.8, 2.0, 2.2),
        "error": 1e-7,
    }
    about = {"cpu": "Some CPU", "versions": {"torch": "2.13.0", "environment": {}}, "date": "2026-01-01"}
    network = NetworkVerdict(**facts | verdict)
    return Plan(layers(count), True, "replaced 3 of 4 layers", threads=2, network=network, about=about)


def kept():
    reason = "kept the stock network: no layer won"
    return Plan(layers(2), False, reason, threads=1, network=NetworkVerdict())


def contest(stock=0.1, ours=0.05):
    samples = {"torch NCHW": [[stock] * 3] * 6, "torch channels_last": [[2 * stock] * 3] * 6}
    return Turns({**samples, "greenkernels": [[ours] * 3] * 6}, {}, {}, 0.0, 2)


class Checker(HTMLParser):
    """Every element that is opened is closed, in its order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.addresses, self.alts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.seen.append(tag)
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.alts.append(attributes["alt"])
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def written(tmp_path, *results, **options):
    path, *_ = network_page("greenkernels on net", results, tmp_path / "report.html", **options)
    return path.read_text(encoding="utf-8")


def test_a_plan_alone_makes_a_page(tmp_path):
    text = written(tmp_path, NetworkResult(won()))
    first = re.search(r'<p class="lead">(.*?)</p>', text)[1]
    assert first == (
        "2 threads: the converted network is faster than the best stock form: 2.00x (95 % interval 1.80 to 2.20), "
        "50.00 ms instead of 100.0 ms a call, 3 of 4 layers replaced. Outputs differ by 1.0e-07 (relative)."
    )
    for part in (
        "block.2.conv",
        "quick tile=4",
        "kernel_size must be (3, 3)",
        "Some CPU",
        "2.13.0",
        "2026-01-01",
    ):
        assert part in text


def test_page_is_well_formed_and_stands_alone(tmp_path):
    pytest.importorskip("matplotlib")
    shown = Picture(b"\x89PNG", 'what "it" made')
    text = written(tmp_path, NetworkResult(won(), pictures=[shown]), NetworkResult(kept()))
    page = Checker(text)
    assert page.open == []
    assert '<html lang="en">' in text
    assert all(address.startswith("data:") for address in page.addresses)
    assert 'what "it" made' in page.alts
    assert all(page.alts)
    assert page.seen.count("caption") == page.seen.count("table")
    assert "script" not in page.seen
    assert "@media print" in text


def test_files_and_figures(tmp_path):
    pytest.importorskip("matplotlib")
    paths = network_page("net", [NetworkResult(won())], tmp_path / "report.html", tmp_path / "figures")
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(tmp_path)) for path in paths)
    stems = {"error-against-speed", "layers-2-threads", "speed-ups"}
    assert set(names) == {"report.html"} | {f"figures/{s}.{form}" for s in stems for form in ("png", "svg")}


def test_the_same_results_give_the_same_bytes(tmp_path):
    assert written(tmp_path / "a", NetworkResult(won())) == written(tmp_path / "b", NetworkResult(won()))


def test_nothing_replaced_says_why(tmp_path):
    text = written(tmp_path, NetworkResult(kept()))
    assert "1 thread: nothing is replaced. Kept the stock network: no layer won." in text
    assert "quick tile=4 was chosen for the layer alone, but the network as a whole is kept" in text


def test_plan_without_layers_or_times(tmp_path):
    text = written(tmp_path, NetworkResult(Plan([], False, "kept the stock network: no layer won")))
    assert "nothing is replaced" in text
    by_rule = won(stock=None, converted=None, speedup=None)
    by_rule.measured, by_rule.reason = False, "replaced 3 of 4 layers by rule"
    assert "the network was not timed" in summary(NetworkResult(by_rule))
    assert warnings(NetworkResult(by_rule)) == ["2 threads: kernels were chosen by rule, without timing."]


def test_a_hundred_layers(tmp_path):
    text = written(tmp_path, NetworkResult(won(100)))
    assert text.count("<td>quick tile=4</td>") == 99


def test_a_later_contest_speaks_instead_of_the_plan(tmp_path):
    result = NetworkResult(
        won(),
        contest(),
        difference=3e-7,
        scores={"torch NCHW": "42.67"},
        score_name="PSNR dB",
        notes=["a note"],
    )
    assert "2.00x" in summary(result)
    assert "differ by 3.0e-07" in summary(result)
    text = written(tmp_path, result)
    for part in ("torch channels_last", "42.67", "PSNR dB", "a note"):
        assert part in text


@pytest.mark.parametrize(
    ("ours", "words"), [(0.05, "is faster than"), (0.1, "is not told apart from"), (0.2, "is slower than")]
)
def test_verdicts_in_words(ours, words):
    assert words in summary(NetworkResult(won(), contest(ours=ours)))


def test_what_was_thrown_out_and_what_was_noisy(tmp_path):
    turns = contest()
    turns.samples["torch NCHW (again)"] = [[0.12] * 3] * 6
    turns.foreign_cores = 0.7
    turns.thrown_out["torch channels_last"] = "relative error 1.0e+00, allowed 1.0e-02"
    text = written(tmp_path, NetworkResult(won(), turns))
    assert "noisy: a network timed against itself differs by 17%" in text
    assert "other processes kept 0.7 cores busy" in text
    assert "torch channels_last was thrown out: relative error 1.0e+00" in text
    turns.thrown_out["greenkernels"] = "raised ValueError: no"
    assert (
        summary(NetworkResult(won(), turns)) == "the converted network was thrown out: raised ValueError: no."
    )
    written(tmp_path, NetworkResult(won(), turns))


def test_joules_carry_their_kind(tmp_path):
    assert "mJ before" not in written(tmp_path, NetworkResult(won()))
    plan = won()
    plan.layers[1].energy_before, plan.layers[1].energy_after = joules(0.5), joules(0.2)
    plan.network.energy_before, plan.network.energy_after = joules(0.5), joules(0.2)
    text = written(tmp_path, NetworkResult(plan))
    assert "mJ before (modelled)" in text
    assert "energy (modelled): 500 [475, 525] mJ before, 200 [190, 210] mJ after" in text
    plan.layers[2].energy_after = joules(0.2, Kind.MEASURED)
    with pytest.raises(MixedKindsError):
        written(tmp_path, NetworkResult(plan))


def test_any_error_may_be_allowed(tmp_path):
    plan = won()
    plan.max_error = math.inf
    assert "allowed any" in written(tmp_path, NetworkResult(plan))


def test_one_round_has_no_interval():
    assert interval(times(0.0, 2.0, math.inf)) == "one round, so no interval"


def test_kinds_do_not_mix(tmp_path):
    plan = won()
    plan.layers[1].after = seconds(0.01, Kind.MODELLED)
    with pytest.raises(MixedKindsError):
        written(tmp_path, NetworkResult(plan))
    assert list(tmp_path.iterdir()) == []


def test_names_are_escaped(tmp_path):
    plan = won()
    plan.layers[1].names = ("<b>&",)
    assert "&lt;b&gt;&amp;" in written(tmp_path, NetworkResult(plan))


def test_without_matplotlib_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = written(tmp_path, NetworkResult(won()))
    assert "No plots: plots need matplotlib" in text
    assert "block.2.conv" in text


def test_no_result_is_refused(tmp_path):
    with pytest.raises(ValueError, match="results must not be empty"):
        network_page("net", [], tmp_path / "report.html")
