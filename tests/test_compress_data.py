"""The reader of MNIST's format: values, packed or not, checksums, and what it says of broken files."""

import gzip
from itertools import pairwise

import pytest
import torch
from idx_files import idx, write_files

from greenkernels.compress.pipeline.data import FILES, DataError, Split, load, spread_over


@pytest.fixture
def data(tmp_path):
    return write_files(tmp_path / "data")


def test_data_is_read_packed_or_not_and_scaled(data):
    found = load(data)
    assert found.train.inputs.shape == (96, 1, 28, 28)
    assert found.test.labels.dtype == torch.int64
    assert float(found.train.inputs.mean()) == pytest.approx(0, abs=1e-5)
    assert float(found.train.inputs.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert found.name == "unknown"
    name = FILES[0]
    (data / name).write_bytes(gzip.decompress((data / f"{name}.gz").read_bytes()))
    (data / f"{name}.gz").unlink()
    assert load(data, found.checksum).checksum == found.checksum


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "does not hold train-images-idx3-ubyte.gz: for Fashion-MNIST get"),
        (lambda path: path.write_bytes(b"no gzip"), "cannot be unpacked"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "cannot be unpacked"),
        (lambda path: path.write_bytes(gzip.compress(b"abc")), "has 3 bytes, too few for its head"),
        (
            lambda path: path.write_bytes(gzip.compress(idx(96, kind=2049))),
            "must begin with the word 2051, got 2049",
        ),
        (
            lambda path: path.write_bytes(gzip.compress(idx(9, 28, 28, kind=2051)[:-1])),
            "must have 7072 bytes, got 7071",
        ),
        (
            lambda path: path.write_bytes(gzip.compress(idx(9, 28, 28, kind=2051))),
            "has 96 labels for 9 images",
        ),
    ],
)
def test_broken_data_is_named(data, spoil, said):
    spoil(data / f"{FILES[0]}.gz")
    with pytest.raises(DataError, match=said):
        load(data)


def test_another_checksum_is_refused(data):
    with pytest.raises(DataError, match="the checksum must be abc, got"):
        load(data, "abc")


@pytest.mark.parametrize(
    ("count", "most"), [(1, 1), (7, 1), (7, 3), (7, 6), (7, 7), (7, 9), (1000, 500), (999, 500)]
)
def test_a_part_is_spread_over_all_of_the_whole(count, most):
    whole = Split(torch.arange(count).float(), torch.arange(count))
    part = spread_over(whole, most)
    taken = part.labels.tolist()
    assert taken == part.inputs.tolist()
    assert len(set(taken)) == len(taken) == min(count, most)
    gaps = {after - before for before, after in pairwise([*taken, count])}
    assert taken[0] == 0
    assert max(gaps) - min(gaps) <= 1
