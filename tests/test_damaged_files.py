"""Files cut off, with changed bytes, or made up: read as what they were, or refused by name; caches are made anew."""

import json
import random
import shutil
import warnings

import pytest
import torch
from torch import nn

import greenkernels as gk
from greenkernels.compress.pipeline import runner
from greenkernels.energy import hardware_table
from greenkernels.measure.merged import runs_in
from greenkernels.measure.rows import Row, Run
from greenkernels.ops import strassen_levels
from greenkernels.planning import CacheWarning
from greenkernels.planning.cache import Cache

DEEP = b'{"schema": ' + b"[" * 100_000
MADE_UP = (
    b"",
    b"\0",
    b"\xff\xfe{}",
    b"null",
    b"3",
    b'"a"',
    b"[]",
    b"[[]]",
    b"{}",
    DEEP,
    b'{"a": 1e999}',
    b"NaN",
)
SHORT, FLIPS = 200, 300


def damages(whole: bytes, seed: int):
    """What may have become of a file: each beginning of a short one, some of a long one; bytes changed; other text."""
    choose = random.Random(seed)
    ends = range(len(whole)) if len(whole) <= SHORT else sorted(choose.sample(range(len(whole)), SHORT))
    yield from MADE_UP
    yield from (whole[:end] for end in ends)
    for _ in range(FLIPS):
        changed = bytearray(whole)
        for _ in range(choose.choice((1, 1, 1, 8))):
            changed[choose.randrange(len(changed))] = choose.randrange(256)
        yield bytes(changed)
    values = json_values(whole)
    for _ in range(FLIPS if values else 0):
        yield json.dumps(replaced(json.loads(whole), choose.choice(values), choose)).encode()


def json_values(whole: bytes) -> list[tuple]:
    """The places of all values of a file of JSON."""

    def walk(value, path):
        yield path
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, item in items:
            yield from walk(item, (*path, key))

    try:
        return list(walk(json.loads(whole), ()))
    except ValueError:
        return []


def replaced(data, path, choose):
    """``data`` with another value at a place, or none."""
    if not path:
        return choose.choice([None, [], {}, 1, "a"])
    at = data
    for key in path[:-1]:
        at = at[key]
    if choose.random() < 0.3:
        del at[path[-1]]
    else:
        at[path[-1]] = choose.choice(
            [None, [], {}, -1, 0.5, "a", True, 1 << 70, {"kind": 1, "unit": 2}, [[1]]]
        )
    return data


def plan(folder):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(8, 9)).eval()
    return gk.plan(model, torch.zeros(1, 3, 10, 10), measure=False).save(folder / "plan.json")


def rows(folder):
    row = Row("suite", "case", "ours", True, None, 1)
    return Run([row], "2026-01-01", {"name": "a"}, {"torch": "2"}, {"commit": "0"}).save(folder / "rows.json")


def table(folder):
    return shutil.copy(hardware_table._TABLES / "server-cpu.json", folder / "table.json")


READERS = {
    "plan": (plan, gk.Plan.load),
    "rows": (rows, runs_in),
    "table": (table, hardware_table.load_table),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_refused_by_name(kind, tmp_path):
    """Or says something else that is in order: these have no checksum."""
    make, read = READERS[kind]
    path = make(tmp_path)
    whole = path.read_bytes()
    read(path)
    refused = 0
    for damaged in damages(whole, 1):
        path.write_bytes(damaged)
        try:
            read(path)
        except ValueError as error:
            assert path.name in str(error)  # noqa: PT017
            refused += 1
    assert refused > SHORT


def test_damaged_weights_are_never_taken(tmp_path):
    """They have a checksum: another model than the one that was saved is never loaded."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5))
    path = gk.save(model, tmp_path / "net")
    whole, refused = path.read_bytes(), 0
    for damaged in damages(whole, 2):
        path.write_bytes(damaged)
        twin = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5))
        expected = {name: value.clone() for name, value in twin.state_dict().items()}
        try:
            gk.load(twin, path)
            expected = model.state_dict()  # what was damaged is blank space
        except ValueError as error:
            assert "is not a safetensors file, or is damaged" in str(error)  # noqa: PT017
            refused += 1
        assert all(torch.equal(value, expected[name]) for name, value in twin.state_dict().items())
    assert refused > SHORT


def test_a_damaged_step_of_a_recipe_is_done_again(tmp_path):
    path, row = tmp_path / "01-prune", dict.fromkeys(runner.Row.__dataclass_fields__, 1)
    (tmp_path / "01-prune.state.safetensors").touch()
    whole = json.dumps({"key": "a", "row": row, "structure": []}).encode()
    again = 0
    for damaged in (whole, *damages(whole, 5)):
        path.with_suffix(".json").write_bytes(damaged)
        found = runner._known(path, "a")
        assert found is None or type(found) is runner.Row
        again += found is None
    assert SHORT < again < len(list(damages(whole, 5)))


def test_a_damaged_entry_of_the_cache_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENKERNELS_CACHE", str(tmp_path))
    cache, data = Cache({"a": 1}), {"times": [1.0, 2.0]}
    cache.write("kind", "key", data)
    (path,) = (tmp_path / "plans").rglob("*.json")
    whole = path.read_bytes()
    for damaged in damages(whole, 3):
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = cache.read("kind", "key")
        assert [warning.category for warning in caught] == ([] if found else [CacheWarning])
    cache.write("kind", "key", data)
    assert cache.read("kind", "key").data == data


def test_a_damaged_table_of_levels_is_ignored_and_written_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENKERNELS_CACHE", str(tmp_path))

    def tuned():
        return strassen_levels.tune_levels(9, 9, 9, time_levels=lambda *_: {0: 2.0, 1: 1.0})

    tuned()
    path = tmp_path / "strassen_gemm.json"
    whole = path.read_bytes()
    for damaged in damages(whole, 4):
        path.write_bytes(damaged)
        strassen_levels._read.cache_clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert strassen_levels.choose_levels(9, 9, 9) in range(strassen_levels.MAX_LEVELS + 1)
            assert tuned() == strassen_levels.choose_levels(9, 9, 9) == 1
