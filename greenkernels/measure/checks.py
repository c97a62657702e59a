"""Are outputs right? Every timed call is looked at in a few elements, some calls in full, against float64.

A reference in float64 costs ten calls, so it is computed for one call of every `CHECK_EVERY` th round. Of all other
timed calls a few elements, drawn anew for each round, are compared with those of a baseline that worked on the same
input; only where they disagree does the reference say who is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .contender import Contender
from .rotation import Arguments, relative_error, tensors_in

CHECK_EVERY = 4  # prime to the 3 timings of a burst, so that another one is checked in full each time
SAMPLED = 256  # elements of each tensor: an error in 2 % of them is missed by one call in 170
# A sample of elements may err more than the whole; what is wrong for want of work errs by about 1.
SLACK = 10.0


class NotPlainError(TypeError):
    """An output that is no plain tensor might do its work only when somebody reads it."""


@dataclass
class Checks:
    """The outputs of one run of turns.

    Attributes:
        reference: the right output for an input, in float64.
        tolerance: relative error beyond which a contender is wrong.
        errors: name -> largest relative error of outputs checked in full.
        wrong: name -> why.
    """

    reference: Callable[..., Any]
    tolerance: float
    errors: dict[str, float] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    _expected: dict[int, Any] = field(default_factory=dict)  # this round's references, by content
    _samples: dict[int, dict[str, list[Tensor]]] = field(default_factory=dict)  # content -> name -> elements
    _spots: dict[tuple[int, ...], tuple[Tensor, ...]] = field(default_factory=dict)  # shape -> indices
    _size: float = 0.0  # norm of a right output
    _random: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def new_round(self) -> None:
        self._expected.clear()
        self._samples.clear()
        self._spots.clear()

    def sample(self, name: str, content: int, output: Any) -> None:
        """Note some elements of an output, at once: whoever has not finished by now will not be right."""
        self._samples.setdefault(content, {})[name] = [self._elements(tensor) for tensor in plain(output)]

    def in_full(self, contender: Contender, content: int, arguments: Arguments, output: Any) -> None:
        """Compare a whole output with the reference."""
        expected = self._reference(content, arguments)
        name, allowed = contender.name, self._allowed(contender)
        error = relative_error(output, expected)
        self.errors[name] = max(error, self.errors.get(name, 0.0))
        if error > allowed:
            self.wrong[name] = f"relative error {error:.1e}, allowed {allowed:.1e}"

    def compare_samples(self, contenders: list[Contender], input_of: Callable[[int], Arguments]) -> None:
        """Find who disagrees with the baseline in this round, and whether it is the baseline that is wrong."""
        by_name = {contender.name: contender for contender in contenders}
        for content, samples in self._samples.items():
            names = [c.name for c in sorted(contenders, key=lambda c: not c.keep) if c.name in samples]
            base = samples[names[0]] if names else []
            if all(self._agree(samples[name], base, by_name[name]) for name in names[1:]):
                continue
            right = [self._elements(t) for t in tensors_in(self._reference(content, input_of(content)))]
            for name in names:
                if not self._agree(samples[name], right, by_name[name]):
                    self.wrong.setdefault(name, "wrong in elements of a timed call that were drawn at random")

    def _agree(self, mine: list[Tensor], theirs: list[Tensor], contender: Contender) -> bool:
        if len(mine) != len(theirs):
            return False
        allowed = SLACK * self._allowed(contender)
        difference = sum(float((a - b).square().sum()) for a, b in zip(mine, theirs, strict=True)) ** 0.5
        return allowed == math.inf or difference <= allowed * self._size  # NaN: no

    def _allowed(self, contender: Contender) -> float:
        return self.tolerance if contender.tolerance is None else contender.tolerance

    def _reference(self, content: int, arguments: Arguments) -> Any:
        if content not in self._expected:
            self._expected[content] = expected = self.reference(*arguments)
            self._size = sum(float(t.double().square().sum()) for t in tensors_in(expected)) ** 0.5
        return self._expected[content]

    def _elements(self, tensor: Tensor) -> Tensor:
        """Some elements in float64, weighted so that their norm is about that of the tensor."""
        shape = tuple(tensor.shape)
        if shape not in self._spots:
            count = tensor.numel()
            flat = torch.randint(max(count, 1), (min(count, SAMPLED),), generator=self._random)
            self._spots[shape] = torch.unravel_index(flat, shape) if shape else ()
        spots = self._spots[shape]
        weight = (tensor.numel() / SAMPLED) ** 0.5 if tensor.numel() > SAMPLED else 1.0
        return tensor[spots].double() * weight if spots else tensor.reshape(-1).double()


def plain(output: Any) -> list[Tensor]:
    """The tensors of an output. Raises NotPlainError for a subclass, whose values may not be there yet."""
    found = tensors_in(output)
    for tensor in found:
        if type(tensor) not in (Tensor, torch.nn.Parameter):
            kind = type(tensor).__name__
            raise NotPlainError(f"the output is a {kind}, which may do its work when it is read")
    return found


def unchanged(arguments: Arguments, pristine: Arguments) -> bool:
    """Whether a contender left its inputs as they were; a NaN equals itself."""
    pairs = zip(tensors_in(arguments), tensors_in(pristine), strict=True)
    return all(bool(((a == b) | ((a != a) & (b != b))).all()) for a, b in pairs)
