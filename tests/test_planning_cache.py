"""Measurements on disk: what is used again, what never is, and what happens to a damaged entry."""

import dataclasses
import json
import time
from collections import OrderedDict

import pytest
import torch
from quick_kernel import CLOCK, OPTIONS, QuickConv2d, X, conv, net, quick_kernel  # noqa: F401
from torch import nn

from greenkernels.measure import Kind, Measurement
from greenkernels.planning import CacheWarning, Plan, cache, fingerprint, plan, planner, restore

pytestmark = pytest.mark.usefixtures("quick_kernel")
CACHED = OPTIONS | {"cache": True}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENKERNELS_CACHE", str(tmp_path))
    return tmp_path


def seconds(model, x=X, **options):
    """The plan and the seconds on the synthetic clock that it took."""
    begin = CLOCK.now()
    made = plan(model, x, **CACHED | options)
    return made, CLOCK.now() - begin


def test_the_same_plan_comes_from_the_cache():
    model = net(conv(8, 8), nn.ReLU(), conv(8, 8, stride=2))
    first, spent = seconds(model)
    again, nothing = seconds(model)
    assert spent > 0.3
    assert nothing == 0
    assert again.about["cached"]
    assert "from the cache of 20" in str(again)
    assert "from the cache" not in str(first)
    same = dataclasses.asdict(again) | {"about": None}
    assert same == dataclasses.asdict(first) | {"about": None}
    assert isinstance(again.apply(model)[0], QuickConv2d)


def test_layers_of_another_network_bring_their_own_activation():
    seconds(net(conv(8, 8), nn.ReLU()))
    other = nn.Sequential(OrderedDict(body=net(nn.Identity(), conv(8, 8), nn.ReLU()), tail=nn.ReLU())).eval()
    made, _ = seconds(other)
    assert made.about["cached_layers"] == 1
    assert made.layers[0].activation.slot == "body.2"
    assert repr(restore(made.apply(other))) == repr(other)


@pytest.mark.parametrize(("high", "again"), [(1.27, True), (1.03, False)])
def test_a_verdict_that_disturbed_turns_left_open_is_asked_again(monkeypatch, high, again):
    decided = planner.verdict

    def disturbed(turns, form):
        ratio = Measurement(0.94, "", Kind.MEASURED, 0.62, high)
        return dataclasses.replace(decided(turns, form), speedup=ratio, word="no difference")

    monkeypatch.setattr(planner, "verdict", disturbed)
    model = net(conv(8, 8))
    assert not seconds(model)[0].accepted
    monkeypatch.setattr(planner, "verdict", decided)
    assert seconds(model)[0].accepted == again


def test_cache_false_neither_reads_nor_writes(folder):
    model = net(conv(8, 8))
    plan(model, X, **OPTIONS)
    assert not list(folder.rglob("*.json"))
    plan(model, X, **CACHED)
    assert list(folder.rglob("*.json"))
    begin = CLOCK.now()
    plan(model, X, **OPTIONS)
    assert CLOCK.now() - begin > 0.3


def test_other_weights_are_certified_again_with_times_from_the_cache():
    _, first = seconds(net(conv(8, 8)))
    other = net(conv(8, 8))
    with torch.no_grad():
        other[0].weight.mul_(1.5)
    made, spent = seconds(other)
    assert "cached" not in made.about
    assert made.about["cached_layers"] == 1
    assert "cached_network" not in made.about
    assert 0.1 < spent < 0.8 * first  # the network alone


def test_other_values_of_the_same_shape_are_checked_again_but_not_timed():
    model = net(conv(8, 8))
    seconds(model)
    made, spent = seconds(model, X + 1)
    assert "cached" not in made.about
    assert "times of the networks from the cache of 20" in str(made)
    assert spent < 0.2  # a few forwards for the error; the first plan took seconds of turns
    assert made.network.error > 0


def test_another_network_with_the_same_weights_is_not_the_same():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(8, 8)

        def forward(self, x):
            return self.conv(x)

    class Scaled(Plain):
        factor = 1.0

        def forward(self, x):
            return self.conv(x) * self.factor

    torch.manual_seed(0)
    plain = Plain().eval()
    models = [plain, Scaled().eval(), Scaled().eval()]
    models[2].factor = 2.0
    for model in models:
        model.load_state_dict(plain.state_dict())
        assert "cached" not in seconds(model)[0].about
    for model in models:
        assert "cached" in seconds(model)[0].about


def test_a_function_that_forward_calls_belongs_to_the_key(monkeypatch):
    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(8, 8)

        def forward(self, x):
            return after(self.conv(x))

    model = Calls().eval()
    before = fingerprint.network_key(model)
    assert fingerprint.network_key(model) == before
    monkeypatch.setitem(globals(), "after", lambda y: y + 1)
    assert fingerprint.network_key(model) != before


def after(y):
    return y


def test_other_threads_settings_or_versions_are_measured_anew(monkeypatch):
    model = net(conv(8, 8))
    seconds(model)
    assert "cached_layers" not in seconds(model, max_error=1e-4)[0].about  # the bound throws candidates out
    assert "cached_layers" not in seconds(model, X[..., :10].contiguous())[0].about
    assert "cached_layers" not in seconds(net(conv(8, 8, bias=False)))[0].about
    assert "cached" not in seconds(model, objective="edp")[0].about
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert "cached_layers" not in seconds(model)[0].about
    finally:
        torch.set_num_threads(threads)
    for name, value in (("cpu", {"name": "another"}), ("versions", {"torch": "9"}), ("kernels", "other")):
        real = fingerprint.environment()
        monkeypatch.setattr(
            "greenkernels.planning.api.environment", lambda n=name, v=value, r=real: r | {n: v}
        )
        assert "cached_layers" not in seconds(model)[0].about
    monkeypatch.undo()


@pytest.mark.parametrize("damage", ["", "{", '{"schema": 1}', "null", "[1]"])
def test_damaged_entries_are_measured_again(folder, damage):
    model = net(conv(8, 8))
    first, spent = seconds(model)
    for path in folder.rglob("*.json"):
        path.write_text(damage)
    with pytest.warns(CacheWarning, match="is damaged and ignored"):
        again, spent_again = seconds(model)
    assert spent_again > spent / 2
    assert "cached" not in again.about
    assert again.accepted == first.accepted
    assert seconds(model)[1] == 0  # mended


def test_an_entry_of_the_right_form_but_wrong_content_is_damaged(folder):
    model = net(conv(8, 8))
    seconds(model)
    for path in folder.rglob("*.json"):
        entry = json.loads(path.read_text())
        path.write_text(json.dumps(entry | {"data": {"stock": 3, "layers": 4, "form": 5}}))
    with pytest.warns(CacheWarning, match="is damaged and ignored"):
        assert seconds(model)[0].accepted


def test_a_folder_that_cannot_be_written_to_is_a_warning(folder, monkeypatch):
    (folder / "plans").write_text("a file where the folder should be")
    with pytest.warns(CacheWarning):
        assert seconds(net(conv(8, 8)))[0].accepted


def test_no_half_written_entries(folder):
    seconds(net(conv(8, 8)))
    assert not list(folder.rglob("*.tmp"))
    for path in folder.rglob("*.json"):
        assert json.loads(path.read_text())["schema"] == cache.SCHEMA


def test_a_metric_is_asked_again():
    calls = []

    def metric(y):
        calls.append(y)
        return 1.0

    model = net(conv(8, 8))
    plan(model, X, **CACHED | {"metric": metric})
    count = len(calls)
    plan(model, X, **CACHED | {"metric": metric})
    assert len(calls) == 2 * count


def test_interrupted_layers_are_kept_on_disk(monkeypatch):
    model = net(conv(8, 8), conv(8, 8), conv(8, 5))
    plain = QuickConv2d.forward

    def interrupted(self, x):
        if self.out_channels == 5:
            raise KeyboardInterrupt
        return plain(self, x)

    monkeypatch.setattr(QuickConv2d, "forward", interrupted)
    made, _ = seconds(model)
    assert "interrupted" in made.reason
    monkeypatch.setattr(QuickConv2d, "forward", plain)
    again, _ = seconds(model)
    assert "cached" not in again.about  # what was interrupted is no plan to keep
    assert again.about["cached_layers"] == 1
    assert again.layers[2].kernel == "quick tile=4"


def test_interrupted_certification_keeps_the_stock_network(monkeypatch):
    from greenkernels.planning import planner

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    model = net(conv(8, 8))
    with monkeypatch.context() as patched:
        patched.setattr(planner, "time_networks", interrupted)
        made, _ = seconds(model)
    assert not made.accepted
    assert made.replaced == []
    assert "nothing was certified" in made.reason
    assert made.layers[0].before is not None
    assert type(made.apply(model)[0]) is nn.Conv2d
    assert seconds(model)[0].accepted


def test_a_weight_without_contents_is_never_cached():
    with pytest.raises(fingerprint.Unknowable):
        fingerprint.network_key(nn.Linear(2, 2, device="meta"))


@pytest.mark.slow
def test_hashing_weights_is_quick():
    weights = [torch.randn(1 << 22) for _ in range(4)]  # 64 MB, as much as VGG-16 without its classifier
    begin = time.perf_counter()
    fingerprint.tensors_digest(weights)
    assert time.perf_counter() - begin < 5  # 0.05 s where nobody else is busy


def test_old_plans_are_read(tmp_path):
    model = net(conv(8, 8))
    made = plan(model, X, **OPTIONS)
    path = made.save(tmp_path / "plan.json")
    data = json.loads(path.read_text())
    data["schema"] = 1
    for layer in data["plan"]["layers"]:
        for name in ("energy_before", "energy_after", "extra_bytes", "scratch_bytes"):
            del layer[name]
    for name in ("energy_before", "energy_after", "uncounted", "drop", "word"):
        del data["plan"]["network"][name]
    path.write_text(json.dumps(data))
    assert isinstance(Plan.load(path).apply(model)[0], QuickConv2d)
    path.write_text('{"schema": 2, "plan": {"layers": 3}}')
    with pytest.raises(ValueError, match="is no plan"):
        Plan.load(path)
