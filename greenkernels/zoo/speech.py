"""Half a minute of two people talking, as samples."""

from __future__ import annotations

import wave
from pathlib import Path

import torch
from torch import Tensor

from .wheels import WheelFile, fetch

# Who speaks when is in sample.rttm beside it: nobody until 6.69 s, then somebody nearly always.
TALK = WheelFile(
    package="pyannote.audio",
    version="4.0.7",
    inner="pyannote/audio/sample/sample.wav",
    sha256="c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e",
    licence="MIT (LICENSE in the wheel)",
    wheel_mb=0.9,
)
RATE = 16_000  # samples a second
FIRST_WORD_S = 6.69


def load_talk() -> Tensor:
    """All of it, ``[480000]`` in -1..1. Raises FetchError where it cannot be had."""
    return read_wav(fetch(TALK))


def read_wav(path: Path) -> Tensor:
    """Samples ``[n]`` in -1..1 of a file of 16 bits, one channel and 16 kHz.

    Raises:
        ValueError: the file is another kind.
    """
    with wave.open(str(path)) as file:
        kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        if kind != (1, 2, RATE):
            raise ValueError(f"speech: {path.name} must have 1 channel of 2 bytes at {RATE} Hz, got {kind}")
        samples = torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16)
    return samples.float() / 32768


def in_noise(speech: Tensor, snr_db: float) -> Tensor:
    """Speech under white noise, always the same, of a power that many dB below its own."""
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))
    return speech + noise * speech.square().mean().sqrt() * 10 ** (-snr_db / 20)
