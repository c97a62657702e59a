"""What the calls of a burst work on: warm, one layer on inputs of its own; cold, copies of layer and input in rotation.

The inputs of a run are numbered, and all contenders meet the same contents in the same round. No content comes twice,
not even within one timing, so that there is nothing to remember; and it changes in place, past torch's version
counters, so that who remembers by address or version is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .contender import Contender
from .copies import nbytes, tensors_held
from .rotation import Arguments, clone, tensors_in, variation

COPIES = 64  # at most, of one contender: what is missing to the bytes wanted is touched in other memory


class Inputs:
    """The numbered inputs of a run; those of one round are kept."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments, self._kept = arguments, {}
        self.bytes = sum(tensor.nbytes for tensor in tensors_in(arguments))

    def __call__(self, content: int) -> Arguments:
        if content not in self._kept:
            self._kept[content] = variation(self.arguments, content)
        return self._kept[content]

    def new_round(self) -> None:
        self._kept.clear()

    def prepared(self, contender: Contender, content: int) -> Arguments:
        """In the contender's layout and in memory that nobody else sees."""
        plain = self(content)
        mine = contender.prepare(plain) if contender.prepare else plain
        shared = {tensor.data_ptr() for tensor in tensors_in(plain)}
        with torch.inference_mode(False), torch.no_grad():
            return clone(mine) if any(t.data_ptr() in shared for t in tensors_in(mine)) else mine


@dataclass
class Slot:
    """One call to make: on a contender (a copy of it in cold runs), with one input that only it sees."""

    contender: Contender
    arguments: Arguments
    content: int


class WarmSlots:
    """The contender itself on fresh copies of the inputs; one of them stands at the same address in every round."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self._kept = inputs, {}

    def take(self, contender: Contender, contents: list[int]) -> list[Slot]:
        slots = [Slot(contender, self.inputs.prepared(contender, c), c) for c in contents]
        kept = self._kept.setdefault(contender.name, slots[-1].arguments)
        slots[-1].arguments = rewrite(kept, slots[-1].arguments)
        return slots

    def give_back(self, contender: Contender, slots: list[Slot]) -> None:
        """Nothing to do: all but one of the slots go."""


class ColdSlots:
    """Copies of every contender and of its inputs in rotation, so that a call finds neither in a cache.

    Between two uses of the same copy all other copies of all contenders are touched, and `filler` for the bytes that
    are still missing: a stand-in for the other layers of a network.

    Attributes:
        bytes: touched between two uses of the same copy, at least.
    """

    def __init__(self, inputs: Inputs, contenders: list[Contender], burst: int, wanted: int) -> None:
        self.inputs, self._next = inputs, dict.fromkeys((c.name for c in contenders), 0)
        self._rings: dict[str, list[Slot]] = {c.name: [] for c in contenders}
        held = {c.name: inputs.bytes + weight_bytes(c) for c in contenders}
        share = wanted / max(1, len(contenders))
        lengths = {
            name: max(burst, min(COPIES, math.ceil(share / max(1, size)))) for name, size in held.items()
        }
        for i in range(max(lengths.values(), default=0)):  # first made, first used: the caches hold the last
            inputs.new_round()
            for contender in contenders:
                if i < lengths[contender.name]:
                    self._rings[contender.name].append(self._copy(contender, i))
        total = sum(lengths[name] * size for name, size in held.items())
        # Bursts until every ring has gone round once; as many slices of the filler are touched in that time.
        bursts = len(contenders) * min((length // burst for length in lengths.values()), default=1)
        self._slice = math.ceil(max(0, wanted - total) / max(1, bursts))
        self._filler = torch.zeros(max(0, wanted - total), dtype=torch.uint8)
        self._at = 0
        self.bytes = max(total, wanted)

    def _copy(self, contender: Contender, content: int) -> Slot:
        slot = Slot(contender.fresh(), self.inputs.prepared(contender, content), content)
        run_once(slot)  # packs weights, where that is done in the first call
        return slot

    def take(self, contender: Contender, contents: list[int]) -> list[Slot]:
        ring, begin = self._rings[contender.name], self._next[contender.name]
        self._next[contender.name] = begin + len(contents)
        if self._filler.numel():
            self._filler[self._at : self._at + self._slice] += 1
            self._at = (self._at + self._slice) % self._filler.numel()
        return [ring[(begin + i) % len(ring)] for i in range(len(contents))]

    def give_back(self, contender: Contender, slots: list[Slot]) -> None:
        """New contents for the next time round: written now, out of the caches by then."""
        length = len(self._rings[contender.name])
        for slot in slots:
            slot.content += length
            slot.arguments = rewrite(slot.arguments, self.inputs.prepared(slot.contender, slot.content))


def run_once(slot: Slot) -> None:
    if slot.contender.timer:
        slot.contender.timer(slot.arguments, 1)
    else:
        slot.contender.call(*slot.arguments)


def rewrite(arguments: Arguments, values: Arguments) -> Arguments:
    """Put `values` where `arguments` are: same objects, same addresses, and no version counter that tells."""
    old, new = tensors_in(arguments), tensors_in(values)
    if not old:
        return values
    with torch.inference_mode(False), torch.no_grad():
        for target, source in zip(old, new, strict=True):
            target.data.copy_(source)
    return arguments


def weight_bytes(contender: Contender) -> int:
    """Bytes of what the call computes with, packed weights too; 0 where it cannot be looked into."""
    return sum(map(nbytes, tensors_held(contender.call)))
