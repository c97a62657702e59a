"""Files of whole networks: small where layers are sparse, readable by others, refused where they are damaged."""

import json
import struct

import pytest
import torch
from torch import nn

import greenkernels as gk
from greenkernels.nn import SparseLinear


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(60, 500), nn.ReLU(), nn.BatchNorm1d(500), nn.Linear(500, 3))


def pruned() -> nn.Module:
    model = mlp()
    gk.compress.prune(model, 0.9, layers=["0"])
    return gk.compress.to_sparse(model, warn=False).eval()


def test_a_sparse_network_comes_back_and_its_file_is_small(tmp_path):
    sparse, x = pruned(), torch.randn(5, 60)
    path = gk.save(sparse, tmp_path / "small.safetensors")
    assert path.stat().st_size < 0.4 * gk.save(mlp(), tmp_path / "large.safetensors").stat().st_size
    loaded = gk.load(mlp(), path).eval()
    assert [type(m) for m in loaded] == [SparseLinear, nn.ReLU, nn.BatchNorm1d, nn.Linear]
    assert torch.equal(loaded(x), sparse(x))
    assert gk.load(loaded, path) is loaded  # into a network that is sparse already
    assert torch.equal(loaded(x), sparse(x))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["large.safetensors", "small.safetensors"]


def test_a_single_layer_and_a_dense_network(tmp_path):
    layer = pruned()[0]
    again = gk.load(nn.Linear(60, 500), gk.save(layer, tmp_path / "layer"))
    assert isinstance(again, SparseLinear)
    assert torch.equal(again.weight, layer.weight)
    model = mlp().half()
    other = gk.load(mlp().half(), gk.save(model, str(tmp_path / "dense")))
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_others_read_it(tmp_path):
    torch_files = pytest.importorskip("safetensors.torch")
    model = mlp()
    state = torch_files.load_file(gk.save(model, tmp_path / "ours"))
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    torch_files.save_file(pruned().state_dict(), tmp_path / "theirs")
    assert gk.load(mlp(), tmp_path / "theirs")[0].weight.count_nonzero() == 3000


def test_refuses_what_it_cannot_write_or_read(tmp_path):
    model = nn.Module()
    model.register_buffer("odd", torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(
        ValueError, match=r"'odd' must be a tensor of a dtype of safetensors, got torch.complex64"
    ):
        gk.save(model, tmp_path / "odd")
    with pytest.raises(ValueError, match="'1' must be a layer with a sparse form, got ReLU"):
        gk.load(nn.Sequential(nn.Linear(60, 500), nn.ReLU()), _renamed(tmp_path))
    whole = gk.save(pruned(), tmp_path / "whole").read_bytes()
    for wrong in (b"", b"no", b"{" * 40, whole[:-1], whole[:30]):
        path = tmp_path / "wrong"
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match="is not a safetensors file, or is damaged"):
            gk.load(mlp(), path)


HUGE = 1 << 50


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 0]}}, 0),
        ({"a": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}}, 0),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}, 8),
        ({"a": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}}, 8),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, 8),
        ({"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}, 8),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, 12),
        ({name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"}, 8),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 8),
        ({"a": {"dtype": "F4", "shape": [1], "data_offsets": [0, 4]}}, 4),
        ({"a": {"dtype": "F32", "shape": None, "data_offsets": [0, 4]}}, 4),
        ([], 0),
        (None, 0),
    ],
    ids=repr,
)
def test_shapes_that_lie_allocate_nothing(tmp_path, header, data):
    words = b"[" * 100_000 if header is None else json.dumps(header).encode()
    path = tmp_path / "hostile"
    path.write_bytes(struct.pack("<Q", len(words)) + words + bytes(data))
    with pytest.raises(ValueError, match="is not a safetensors file, or is damaged"):
        gk.load(mlp(), path)


def _renamed(folder):
    """A file whose packed weight belongs to layer 1."""
    raw = gk.save(nn.Sequential(pruned()[0]), folder / "renamed").read_bytes()
    size = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8 : 8 + size])
    del header["__metadata__"]  # as of another writer, without a checksum
    header["1.packed_weight"] = header.pop("0.packed_weight")
    words = json.dumps(header).encode()
    path = folder / "renamed"
    path.write_bytes(struct.pack("<Q", len(words)) + words + raw[8 + size :])
    return path


def test_filters_of_4_bits_take_half_a_byte(tmp_path):
    stock = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3)).eval()
    sizes = {}
    for bits in (8, 4):
        made = gk.compress.quantize(stock, bits)
        file = gk.save(made, tmp_path / f"{bits}.safetensors")
        again = gk.load(gk.compress.quantize(stock, 8), file)
        assert torch.equal(again[2].weight_int8, made[2].weight_int8)
        assert torch.equal(again[2].weight_scale, made[2].weight_scale)
        sizes[bits] = file.stat().st_size
    assert sizes[8] - sizes[4] == pytest.approx(64 * 9 * (3 + 64) / 2, rel=0.01)


@pytest.mark.parametrize("floats", ["bfloat16", "float16"])
def test_weights_in_16_bits_come_back_as_float32(tmp_path, floats):
    stock = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64))
    file = gk.save(stock, tmp_path / "half.safetensors", floats=floats)
    again = gk.load(nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64)), file)
    assert again[0].weight.dtype == torch.float32
    assert torch.equal(again[0].weight, stock[0].weight.to(getattr(torch, floats)).float())
    assert torch.equal(again[0].bias, stock[0].bias)
    assert file.stat().st_size < 2 * 64 * 64 + 3000
    with pytest.raises(ValueError, match="floats must be one of float32, bfloat16, float16, got 'int8'"):
        gk.save(stock, file, floats="int8")
