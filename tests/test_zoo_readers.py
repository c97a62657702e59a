"""The zoo's readers: weights of ncnn, sounds, and text."""

import wave

import pytest
import torch
from torch import nn

from greenkernels.zoo import speech
from greenkernels.zoo.ncnn import load_ncnn
from greenkernels.zoo.wordpiece import WordPiece


def ncnn_layer(layer, half):
    """What ncnn would write for a convolution."""
    kernel = layer.weight.detach()
    if isinstance(layer, nn.ConvTranspose2d):
        kernel = kernel.transpose(0, 1)
    data = kernel.contiguous().numpy()
    tag = (0x01306B47 if half else 0).to_bytes(4, "little")
    body = data.astype("<f2" if half else "<f4").tobytes()
    return tag + body + b"\0" * (-len(body) % 4) + layer.bias.detach().numpy().tobytes()


@pytest.mark.parametrize("half", [False, True])
def test_ncnn_weights_come_back(half, tmp_path):
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 3, 3),
        nn.PReLU(3),
        nn.ConvTranspose2d(3, 5, 2),
        nn.Linear(5, 3),
    ]  # 27 halves: filled up
    with torch.no_grad():
        for parameter in nn.Sequential(*layers).parameters():
            parameter.copy_(parameter.half())
        layers[1].weight.uniform_()
    parts = [ncnn_layer(layers[0], half), layers[1].weight.detach().numpy().tobytes()]
    parts += [ncnn_layer(layer, half) for layer in layers[2:]]
    path = tmp_path / "net.bin"
    path.write_bytes(b"".join(parts))
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.PReLU(3), nn.ConvTranspose2d(3, 5, 2), nn.Linear(5, 3))
    load_ncnn(network, path)
    for mine, theirs in zip(network.parameters(), nn.Sequential(*layers).parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_ncnn_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "net.bin"
    whole = ncnn_layer(nn.Conv2d(1, 2, 3), half=False)
    for data, message in [
        (whole + b"1234", "has 88 bytes, Conv2d took 84"),
        (whole[:-4], r"does not fit Conv2d \(it ends at 80 bytes, within an array\)"),
        (b"", "does not fit Conv2d"),
        (b"\1" * 84, "storage tag 0x01010101"),
    ]:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            load_ncnn(nn.Conv2d(1, 2, 3), path)


def test_wav(tmp_path):
    def save(rate):
        with wave.open(str(tmp_path / "a.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(b"\x00\x40\x00\x80")
        return tmp_path / "a.wav"

    assert speech.read_wav(save(16_000)).tolist() == [0.5, -1.0]
    with pytest.raises(
        ValueError, match=r"a\.wav must have 1 channel of 2 bytes at 16000 Hz, got \(1, 2, 8000\)"
    ):
        speech.read_wav(save(8_000))


def test_noise_has_the_power_asked_for():
    sound = torch.sin(torch.arange(100_000) / 7)
    noise = speech.in_noise(sound, 10) - sound
    assert float(sound.square().mean() / noise.square().mean()) == pytest.approx(
        10, rel=0.02
    )  # 1 / sqrt(100,000)


def test_wordpiece(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##in", "cafe", "!"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    tokens = WordPiece(tmp_path / "vocab.txt")
    numbers, mask = tokens(["Playing CAF\u00c9!", "playground"])
    assert numbers.tolist() == [[2, 4, 5, 7, 8, 3], [2, 1, 3, 0, 0, 0]]
    assert mask.tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert tokens(["play play play"], longest=4)[0].tolist() == [[2, 4, 4, 3]]
