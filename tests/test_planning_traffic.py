"""Layers of networks whose weights outgrow the caches are timed with other traffic between their calls."""

import torch
from quick_kernel import OPTIONS, X, conv, net, quick_kernel  # noqa: F401
from synthetic_clock import SyntheticClock
from torch import nn

from greenkernels.planning import plan
from greenkernels.planning.schedules import MOST_BETWEEN, Budget, layer_schedule, traffic_between
from greenkernels.planning.survey import Site


def test_bytes_are_those_of_the_network_as_a_power_of_two():
    assert traffic_between(nn.Linear(8, 8)) == 0
    with torch.device("meta"):
        wide = nn.Linear(3000, 3000, bias=False)
        assert traffic_between(nn.Linear(8192, 8192, bias=False)) == MOST_BETWEEN
    assert traffic_between(wide) in (0, 64 << 20)  # 36 MB, in an L2 or not


def test_the_schedule_of_a_layer_has_them():
    schedule = layer_schedule(Site(("a",), nn.ReLU()), Budget(None, SyntheticClock()), 1 << 20)
    assert schedule.between_bytes == 1 << 20


def test_a_plan_reads_them_between_calls(monkeypatch, quick_kernel):  # noqa: F811
    monkeypatch.setattr("greenkernels.planning.planner.traffic_between", lambda model: 1 << 12)
    seen = set()
    monkeypatch.setattr(
        "greenkernels.measure.rounds.Rounds.run_others", lambda self, slot: seen.add(self.others.nbytes)
    )
    assert plan(net(conv(8, 8)), X, **OPTIONS).accepted
    assert seen == {1 << 12}
