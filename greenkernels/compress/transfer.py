"""transfer: parameters of one network into another of a similar structure, and a report of what did not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Transfer:
    """What `transfer` did; prints as a list.

    Attributes:
        copied: target name -> source name.
        shapes: target name -> shapes (of the source, of the target) where names fit and shapes do not.
        missing: names of the target for which the source has nothing.
        left: names of the source that nothing was taken from.
    """

    copied: dict[str, str]
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    missing: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.copied)} copied"]
        lines += [
            f"shape of {name}: {tuple(a)} in the source, {tuple(b)} here"
            for name, (a, b) in self.shapes.items()
        ]
        lines += [f"not in the source: {name}" for name in self.missing]
        lines += [f"left in the source: {name}" for name in self.left]
        return "\n".join(lines)


def transfer(
    source: nn.Module | Mapping[str, Tensor],
    target: nn.Module,
    *,
    rename: Mapping[str, str] | None = None,
    by_shape: bool = False,
) -> Transfer:
    """Copies parameters and buffers into a network, in place, where name and shape fit.

    Args:
        source: a network or its state; it is not changed.
        target: what gets them; values are converted to its dtypes and devices.
        rename: beginning of a name in the target -> in the source, as {"body.": "backbone."}; the longest one counts.
        by_shape: what no name was found for is taken in order: of each shape the first that is left in the source goes
            to the first that is missing here, and so on.

    Returns:
        What was copied and what was not.
    """
    have = dict(source.state_dict() if isinstance(source, nn.Module) else source)
    wanted = target.state_dict()
    copied: dict[str, str] = {}
    shapes = {}
    for name, value in wanted.items():
        found = _renamed(name, rename or {})
        if found not in have:
            continue
        if have[found].shape == value.shape:
            copied[name] = found
        else:
            shapes[name] = tuple(have[found].shape), tuple(value.shape)
    if by_shape:
        _match_shapes(have, wanted, copied, shapes)
    target.load_state_dict({name: have[found] for name, found in copied.items()}, strict=False)
    taken = {*copied.values(), *(_renamed(name, rename or {}) for name in shapes)}
    missing = tuple(name for name in wanted if name not in copied and name not in shapes)
    return Transfer(copied, shapes, missing, tuple(name for name in have if name not in taken))


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    begins = [begin for begin in rename if name.startswith(begin)]
    if not begins:
        return name
    begin = max(begins, key=len)
    return rename[begin] + name.removeprefix(begin)


def _match_shapes(
    have: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    copied: dict[str, str],
    shapes: Mapping[str, object],
) -> None:
    taken = set(copied.values())
    left: dict[torch.Size, list[str]] = {}
    for name, value in have.items():
        if name not in taken:
            left.setdefault(value.shape, []).append(name)
    for name, value in wanted.items():
        if name not in copied and name not in shapes and left.get(value.shape):
            copied[name] = left[value.shape].pop(0)
