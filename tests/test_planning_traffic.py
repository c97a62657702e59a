"""Layers of networks whose weights outgrow the caches are timed with other traffic between their calls."""

import torch
from quick_kernel import OPTIONS, X, conv, net, quick_kernel  # noqa: F401
from synthetic_clock import SyntheticClock
from torch import nn

from greenkernels.planning import plan
from greenkernels.planning.schedules import MOST_BETWEEN, Budget, layer_schedule, traffic_between
from greenkernels.planning.survey import Site


def linear(features):
    with torch.device("meta"):
        return nn.Linear(features, features, bias=False)


def test_bytes_drive_weights_out_of_the_caches_that_the_network_outgrows(monkeypatch):
    caches = {"L2": 1 << 20, "L3": 32 << 20}
    monkeypatch.setattr("greenkernels.planning.schedules.cpu_facts", lambda: {"caches_bytes": caches})
    assert traffic_between(linear(512)) == 0  # 1 MiB stays in L2
    assert traffic_between(linear(1024)) == 8 << 20  # 4 MiB come from L3
    assert traffic_between(linear(2048)) == 16 << 20  # so do 16 MiB, after all of them went by
    caches["L3"] = 8 << 20
    assert traffic_between(linear(2048)) == 16 << 20  # 16 MiB from memory
    caches["L3"] = 1 << 28
    assert traffic_between(linear(32768)) == MOST_BETWEEN


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
