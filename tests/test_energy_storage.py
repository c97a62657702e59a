"""Bytes at each level of storage: what kernels go through again, and what caches keep."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import greenkernels as gk
from greenkernels.energy import Counts, count, estimate, hardware, joules, reuse
from greenkernels.energy.model import storage_bytes
from greenkernels.energy.reuse import Stream, product, streamed_weight, strips
from greenkernels.planning.as_json import revived, to_json

KB, MB = 1 << 10, 1 << 20


def test_a_pass_is_free_where_what_lies_between_fits() -> None:
    stream = Stream(bytes=100, passes=3, between=1000)
    assert (stream.again(999), stream.again(1000)) == (200, 0)


def test_scratch_that_fits_is_there_unless_nothing_is() -> None:
    stream = Stream(bytes=100, passes=3, between=1000, scratch=True)
    assert (stream.again(999), stream.again(1000), stream.again(1000, cold=True)) == (300, 0, 100)


def test_a_product_that_fits_in_a_cache_passes_it_once() -> None:
    assert all(stream.between <= 3 * 64 * 64 * 4 for stream in product(64, 64, 64, 4))


def test_a_product_goes_through_its_blocks_again() -> None:
    m, n, k = 480, 8192, 1024  # 2 blocks of rows, 2 of columns, 4 slices of the depth
    a, b, c = (4 * size for size in (m * k, n * k, m * n))
    at_l3 = sum(stream.again(2 * MB) for stream in product(m, n, k, 4))
    # a for the second block of columns, b for the second of rows, and the sums for each slice but the first.
    assert at_l3 == a + b + c * 3


def test_a_weight_streams_past_each_group_that_half_of_l2_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, rows, row = 9 * MB, 4096, 1 * KB  # 4 MB of rows, 1 MB of them at a time
    monkeypatch.setattr(reuse, "l2_bytes", lambda: 2 * MB)
    found = streamed_weight(rows, row, weight, panels=64)
    assert Stream(weight, 4, weight + 1 * MB) in found


def test_few_rows_stay_and_the_weight_streams_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "l2_bytes", lambda: 2 * MB)
    found = streamed_weight(100, 1 * KB, 9 * MB, panels=8)
    assert sum(stream.again(2 * MB) for stream in found) == 0


def test_a_sparse_weight_streams_past_each_strip_of_64_rows() -> None:
    assert Stream(1000, 4, 1000 + 64 * 8) in strips(rows=256, row_bytes=8, weight=1000, tiles=1)


def test_caches_keep_weights_and_maps_that_fit() -> None:
    counts = Counts(0, 1000, 400, 600)
    assert counts.moved(500) == 1400  # nothing was there
    assert counts.moved(500, network_weights=600) == 600 + 800  # neither fits
    assert counts.moved(900, network_weights=600) == 0  # both do
    assert counts.moved(900, network_weights=5000) == 600  # the maps do, the weights of the network do not
    assert (counts + counts).moved(900, network_weights=600) == 0  # two calls, one after the other


def test_every_level_is_charged_for_what_the_one_above_does_not_keep() -> None:
    counts = Counts(1000, 30 * KB, 10 * KB, 20 * KB)
    found = storage_bytes(counts, hardware("generic-7nm"), network_weights=64 * KB)
    assert found == {
        "register byte": 1000 / 2 * 4 * 4,
        "L1 byte": 40 * KB,
        "L2 byte": 40 * KB,  # 8 KB of L1 keep neither
        "L3 byte": 20 * KB,  # 32 KB of L2 keep the maps
    }


def test_a_network_that_fits_in_the_caches_pays_no_memory() -> None:
    small = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)).eval()
    large = nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(4)]).eval()
    levels = [set(layer.storage_bytes) for layer in estimate(small, torch.randn(1, 32), "server-cpu").layers]
    assert all("DRAM byte" not in found for found in levels)
    found = estimate(large, torch.randn(1, 1024), "generic-7nm").layers[0].storage_bytes
    # Its weight and bias; the maps stay, but the sums of each slice of 256 terms come again after 1 MB of weight.
    assert found["DRAM byte"] == 4 * (1024 * 1024 + 1024) + 4 * 1024 * 3


def test_a_meter_and_an_estimate_say_the_same() -> None:
    net, x = nn.Sequential(nn.Linear(64, 64), nn.ReLU()).eval(), torch.randn(2, 64)
    with gk.energy.EnergyMeter("horowitz-45nm", source="model") as meter, torch.no_grad():
        net(x)
    assert meter.energy_j.value == pytest.approx(estimate(net, x, "horowitz-45nm").energy_j.value)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(512, 8192), (480, 512)),
        (nn.Conv2d(64, 64, 3, padding=1), (1, 64, 56, 56)),
        (gk.nn.WinogradConv2d(256, 256, padding=1), (4, 256, 56, 56)),
        (gk.nn.DirectConv2d(256, 256, 3, padding=1), (4, 256, 56, 56)),
    ],
)
def test_products_of_layers_have_streams(layer: nn.Module, shape: tuple[int, ...]) -> None:
    counts = count(layer, shape).counts
    assert counts.streams
    # A larger cache never passes more.
    passed = [counts.moved(capacity) for capacity in (2 * KB, 32 * KB, 2 * MB, 1 << 40)]
    assert passed == sorted(passed, reverse=True)
    assert passed[-1] == counts.bytes + sum(stream.bytes for stream in counts.streams if stream.scratch)


def test_the_layer_and_its_operation_have_the_same_streams() -> None:
    layer, x = nn.Linear(300, 500), torch.randn(700, 300)
    with gk.energy.EnergyMeter("horowitz-45nm", source="model") as meter, torch.no_grad():
        layer(x)
    by_layer = joules(
        count(layer, x.shape).counts, hardware="horowitz-45nm", network_weights=4 * (300 * 500 + 500)
    )
    assert meter.energy_j.value == pytest.approx(by_layer.value)


def test_counts_survive_json() -> None:
    counts = count(nn.Linear(512, 8192), (480, 512)).counts * 2
    again = revived({"work": json.loads(json.dumps(to_json(counts)))})["work"]
    assert again == counts
    assert (again.streams, again.maps) == (counts.streams, counts.maps)
