"""Silero VAD: is this 32 ms of sound speech? A control: no Conv2d at all, and calls of a tenth of a millisecond.

Source: Silero Team, "Silero VAD: pre-trained enterprise-grade Voice Activity Detector", 2021; released weights of the
16 kHz network.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..job import Job
from ..speech import RATE, TALK, load_talk
from ..wheels import WheelFile, fetch
from . import Network

WEIGHTS = WheelFile(
    package="silero-vad",
    version="6.2.3",
    inner="silero_vad/data/silero_vad_16k.safetensors",
    sha256="c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
    licence="MIT (LICENSE in the wheel)",
    wheel_mb=11.3,
)
FRAME, CONTEXT = 512, 64  # new samples in a call, and old ones before them
FREQUENCIES, WIDTH = 129, 128
AT_S = 12.0  # the call of the job: in the midst of a sentence


class SpeechDetector(nn.Module):
    """``samples [n, 576]`` and the state ``h, c [n, 128]`` to the chance of speech ``[n, 1]`` and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * FREQUENCIES, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(FREQUENCIES, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, WIDTH, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(WIDTH, WIDTH)
        self.final_conv = nn.Conv1d(WIDTH, 1, 1)

    def forward(self, samples: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        waves = self.stft_conv(F.pad(samples, (0, 64), mode="reflect")[:, None])
        x = (waves[:, :FREQUENCIES].square() + waves[:, FREQUENCIES:].square()).sqrt()
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(x).relu()
        h, c = self.lstm_cell(x.squeeze(-1), (h, c))
        return self.final_conv(h.relu()[..., None]).sigmoid().squeeze(-1), h, c


def build() -> SpeechDetector:
    """The network with its released weights, in eval mode.

    Raises:
        FetchError: the weights cannot be had.
        ImportError: the package safetensors is missing.
    """
    from safetensors.torch import load_file

    network = SpeechDetector()
    network.load_state_dict(load_file(fetch(WEIGHTS)))
    return network.eval()


@torch.inference_mode()
def listen(network: nn.Module, sound: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Chances of speech ``[frames]`` over ``sound [n]``, frame after frame, and the state at the end."""
    padded = F.pad(sound, (CONTEXT, 0))
    h = c = torch.zeros(1, WIDTH)
    chances = []
    for begin in range(0, len(sound) - FRAME + 1, FRAME):
        chance, h, c = network(padded[None, begin : begin + CONTEXT + FRAME], h, c)
        chances.append(chance[0, 0])
    return torch.stack(chances), (h, c)


def job(photo: Path | None = None) -> Job:
    """One call in the midst of a talk, judged by the chance of speech that it gives."""
    network, talk = build(), load_talk()
    begin = int(AT_S * RATE) // FRAME * FRAME
    _, state = listen(network, talk[:begin])
    (known,) = NETWORKS
    return Job(
        name=known.name,
        network=network,
        inputs=(talk[None, begin - CONTEXT : begin + FRAME].clone(), *(s.clone() for s in state)),
        score=lambda output: 100 * float(output[0]),
        score_name="chance of speech",
        score_unit="%",
        role=known.role,
        about=known.about,
    )


NETWORKS = (
    Network(
        name="silero-vad",
        about="32 ms of sound to the chance that it is speech",
        role="control",
        files=(WEIGHTS, TALK),
        gmacs=0.00068,
        share_3x3=0.0,
        job=job,
        takes_photo=False,
    ),
)
