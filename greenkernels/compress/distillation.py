"""What a small network learns from a large one: logits with temperature, hints of features, maps of attention.

The losses are functions of tensors; `Distiller` takes the tensors out of two networks and fits any training loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def logit_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))``, classes in the last dimension, mean over the others.

    The factor keeps the size of gradients as T changes. Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in
    a Neural Network", 2015.

    Raises:
        ValueError: shapes differ, or the temperature is not above 0.
    """
    _same("logit_loss", student, teacher)
    if not temperature > 0:
        raise ValueError(f"logit_loss: temperature must be above 0, got {temperature}")
    wanted = F.log_softmax(teacher / temperature, -1).flatten(0, -2)
    got = F.log_softmax(student / temperature, -1).flatten(0, -2)
    return temperature**2 * F.kl_div(got, wanted, reduction="batchmean", log_target=True)


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """``mean((student - teacher)^2)`` of features of one shape; `Distiller` brings them to it by an adapter.

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.

    Raises:
        ValueError: shapes differ.
    """
    _same("hint_loss", student, teacher)
    return F.mse_loss(student, teacher)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over samples of ``||Q(student) - Q(teacher)||^2``, Q the sums of squares over channels, together of norm 1.

    Channels may differ; places, too: the student's maps are then averaged, or repeated, to those of the teacher.

    Args:
        student, teacher: maps ``[batch, channels, ...]``.

    Source: Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017.

    Raises:
        ValueError: they are no maps, or batches or dimensions differ.
    """
    if student.dim() < 3 or student.dim() != teacher.dim() or len(student) != len(teacher):
        raise ValueError(
            "attention_loss: student and teacher must be maps [batch, channels, ...] of one batch, got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    own, wanted = (maps.square().mean(1) for maps in (student, teacher))
    if own.shape != wanted.shape:
        own = _POOLS[own.dim() - 2](own[:, None], wanted.shape[1:])[:, 0]
    own, wanted = (F.normalize(maps.flatten(1)) for maps in (own, wanted))
    return (own - wanted).square().sum(1).mean()


_POOLS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)


def _same(name: str, student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(
            f"{name}: student must have the shape of teacher, {tuple(teacher.shape)}, got {tuple(student.shape)}"
        )


class Distiller(nn.Module):
    """A student beside its teacher; calling it calls both and gives the student's output.

        distiller = gk.compress.Distiller(student, teacher, inputs, hints={"3": "features.5"})
        optimizer = torch.optim.Adam(distiller.parameters())
        for x, y in data:  # any loop
            loss = 0.1 * F.cross_entropy(distiller(x), y) + distiller.loss()

    The teacher is in eval mode, gets no gradients and is no part of ``parameters()`` or ``state_dict()``. Where
    features differ in channels, an adapter, a 1x1 convolution or a Linear, brings the student's to the teacher's:
    adapters are trained along and left behind.

    Args:
        student: what trains.
        teacher: what it learns from; the same module for the same inputs.
        inputs: one call, a tensor or a tuple of arguments, run once to see which shapes features have.
        logits: weight of `logit_loss` between the outputs, 0 for none.
        temperature: of the logits.
        hints: name of a layer of the student -> of the teacher, compared by `hint_loss`; features are maps ``[batch,
            channels, h, w]`` or ``[..., channels]``.
        attention: the same, by `attention_loss`.

    Raises:
        ValueError: no such layer, or features that no adapter brings together; the message names them.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        inputs: Any,
        *,
        logits: float = 1.0,
        temperature: float = 4.0,
        hints: Mapping[str, str] | None = None,
        attention: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.__dict__["teacher"] = teacher.eval()  # not registered: not trained, moved or saved
        self.logits, self.temperature = logits, temperature
        self.hints, self.attention = dict(hints or {}), dict(attention or {})
        self.seen: dict[str, dict[str, Tensor]] = {"student": {}, "teacher": {}}
        self.outputs: tuple[Tensor, Tensor] | None = None
        for own, theirs in (*self.hints.items(), *self.attention.items()):
            self._layer("student", own)
            self._layer("teacher", theirs)
        self.adapters = nn.ModuleDict()
        was = student.training
        student.eval()
        with torch.no_grad():
            self(*(inputs if isinstance(inputs, tuple) else (inputs,)))
        student.train(was)
        for own, theirs in self.hints.items():
            self.adapters[own.replace(".", "/")] = self._adapter(own, theirs)
        with torch.no_grad():
            self.loss()  # what does not fit together says so now
        self.train(was)

    def forward(self, *inputs: Any) -> Any:
        """The student's output; that of the teacher and features of both are kept for `loss`."""
        with torch.no_grad():
            wanted = self._watch("teacher", self.teacher, self._names(1), inputs)
        got = self._watch("student", self.student, self._names(0), inputs)
        self.outputs = got, wanted
        return got

    def loss(self) -> Tensor:
        """Sum of `losses`."""
        return sum(self.losses().values(), torch.zeros((), device=self._device()))

    def losses(self) -> dict[str, Tensor]:
        """Each part by name: "logits", "hint LAYER", "attention LAYER"; once for each call, which is then forgotten.

        Raises:
            RuntimeError: there was no call since.
        """
        if self.outputs is None:
            raise RuntimeError("Distiller: call it on a batch before its loss is asked for")
        parts = {}
        own, wanted = self.seen["student"], self.seen["teacher"]
        outputs, self.outputs, self.seen = self.outputs, None, {"student": {}, "teacher": {}}
        if self.logits:
            parts["logits"] = self.logits * logit_loss(*outputs, self.temperature)
        for name, theirs in self.hints.items():
            adapted = self.adapters[name.replace(".", "/")](own[name])
            parts[f"hint {name}"] = hint_loss(adapted, wanted[theirs])
        for name, theirs in self.attention.items():
            parts[f"attention {name}"] = attention_loss(own[name], wanted[theirs])
        return parts

    def train(self, mode: bool = True) -> Distiller:
        """The student and the adapters; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def _names(self, side: int) -> set[str]:
        return {pair[side] for pairs in (self.hints, self.attention) for pair in pairs.items()}

    def _layer(self, side: str, name: str) -> nn.Module:
        model = self.student if side == "student" else self.teacher
        found = dict(model.named_modules())
        if name not in found:
            raise ValueError(f"Distiller: {side} has no layer {name!r}, but {', '.join(filter(None, found))}")
        return found[name]

    def _watch(self, side: str, model: nn.Module, names: set[str], inputs: tuple[Any, ...]) -> Any:
        """The output; outputs of the layers ``names`` go to `seen`."""
        kept = self.seen[side]
        kept.clear()
        handles = []
        for name in names:

            def keep(_: nn.Module, __: Any, output: Tensor, name: str = name) -> None:
                kept[name] = output

            handles.append(self._layer(side, name).register_forward_hook(keep))
        try:
            return model(*inputs)
        finally:
            for handle in handles:
                handle.remove()

    def _adapter(self, own: str, theirs: str) -> nn.Module:
        have, want = self.seen["student"][own], self.seen["teacher"][theirs]
        maps = have.dim() == 4
        places = [(x.shape[0], *x.shape[2:]) if maps else x.shape[:-1] for x in (have, want)]
        if have.dim() != want.dim() or have.dim() < 2 or places[0] != places[1]:
            raise ValueError(
                f"Distiller: {own!r} of the student must have features of the places of {theirs!r} of the teacher, "
                f"{tuple(want.shape)}, got {tuple(have.shape)}"
            )
        channel = 1 if maps else -1
        if have.shape[channel] == want.shape[channel]:
            return nn.Identity()
        sizes = have.shape[channel], want.shape[channel]
        made = nn.Conv2d(*sizes, 1) if maps else nn.Linear(*sizes)
        return made.to(have.device, have.dtype)

    def _device(self) -> torch.device:
        return next((p.device for p in self.student.parameters()), torch.device("cpu"))
