"""prune: masks for a network, by importance and structure; Pruner: the same along a schedule while it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .importance import IMPORTANCES, Loss, Scores
from .layers import Layers, mask_of, prunable, set_mask
from .schedules import Schedule
from .structures import Structure, keep_best
from .surgeon import Surgeon

Importance = str | Callable[[str, nn.Module], Tensor]


def prune(
    model: nn.Module,
    amount: float | None = None,
    *,
    threshold: float | None = None,
    importance: Importance = "magnitude",
    structure: str = "unstructured",
    scope: str = "global",
    layers: Layers = None,
    loss: Loss | None = None,
    batches: Iterable[Any] = (),
) -> nn.Module:
    """Masks the least important weights of a network, in place; the masks are those of ``torch.nn.utils.prune``.

    What is masked stays masked in later calls. Train on as usual: masked weights get no gradient. Then
    ``gk.compress.to_sparse`` makes layers that store and multiply the rest alone.

    Args:
        model: Any network; its ``nn.Linear`` and ``nn.Conv2d`` are pruned, also those that already are.
        amount: Share of zeros that the weights of these layers shall have, 0 to 1; not for N:M.
        threshold: Instead of an amount: all weights, or units, with a (mean) score below it.
        importance: "magnitude" ``|w|``; "gradient" ``mean(|w g|)``; "fisher" ``w^2 mean(g^2) / 2``; "obs", the
            block-wise optimal brain surgeon, which also moves the weights that stay; or a function of a layer's name
            and the layer that gives scores of 0 or more in the shape of its weight.
        structure: "unstructured"; "2x1", "4x1", ... blocks of outputs x inputs; "2:4", ... N kept in each M inputs;
            "channels", whole outputs, whose biases are masked too.
        scope: "global", one ranking of all layers, or "layer", the amount in each.
        layers: Names, or a function of name and module; None for all.
        loss: Function of model and batch, for all importances but "magnitude".
        batches: What the loss is taken of: one gradient each.

    Returns:
        ``model``.

    Raises:
        ValueError: an argument has none of these values, or two exclude each other; the message names it.
    """
    shape = Structure.named(structure)
    _check(shape, amount, threshold, scope)
    chosen = prunable(model, layers)
    if not chosen:
        return model
    surgeon = Surgeon(model, chosen, loss, batches) if importance == "obs" else None
    scores = surgeon.scores() if surgeon else _scores(model, chosen, importance, loss, batches)
    # What is masked already goes first.
    scores = {name: torch.where(mask_of(chosen[name]), score, -1.0) for name, score in scores.items()}
    masks = _masks(shape, scores, amount, threshold, scope)
    if surgeon:
        surgeon.update(masks)
    for name, module in chosen.items():
        set_mask(module, masks[name] & mask_of(module))
        if structure == "channels" and module.bias is not None:
            set_mask(module, masks[name].flatten(1).any(1), "bias")
    return model


def _check(shape: Structure, amount: float | None, threshold: float | None, scope: str) -> None:
    if scope not in ("global", "layer"):
        raise ValueError(f"prune: scope must be global or layer, got {scope!r}")
    if shape.of:
        if amount is not None or threshold is not None:
            raise ValueError("prune: amount and threshold must be None for N:M, which says how many stay")
    elif (amount is None) == (threshold is None):
        raise ValueError(f"prune: one of amount and threshold must be given, got {amount} and {threshold}")
    elif amount is not None and not 0 <= amount <= 1:
        raise ValueError(f"prune: amount must be in [0, 1], got {amount}")


def _scores(
    model: nn.Module,
    layers: dict[str, nn.Module],
    importance: Importance,
    loss: Loss | None,
    batches: Iterable[Any],
) -> Scores:
    if callable(importance):
        return {name: importance(name, module) for name, module in layers.items()}
    if importance not in IMPORTANCES:
        names = ", ".join([*IMPORTANCES, "obs"])
        raise ValueError(f"prune: importance must be one of {names} or a function, got {importance!r}")
    return IMPORTANCES[importance](model, layers, loss, batches)


def _masks(
    shape: Structure, scores: Scores, amount: float | None, threshold: float | None, scope: str
) -> dict[str, Tensor]:
    if shape.of:
        return {name: shape.best_of_each_run(score) for name, score in scores.items()}
    units = {name: shape.unit_scores(score) for name, score in scores.items()}
    if threshold is not None:
        kept = {name: means >= threshold for name, (means, _) in units.items()}
    elif scope == "layer":
        kept = {name: keep_best(means, sizes, amount) for name, (means, sizes) in units.items()}
    else:
        together = keep_best(*(torch.cat(parts) for parts in zip(*units.values(), strict=True)), amount)
        split = together.split([means.numel() for means, _ in units.values()])
        kept = dict(zip(units, split, strict=True))
    return {name: shape.mask(kept[name], score.shape) for name, score in scores.items()}


class Pruner:
    """Prunes along a schedule while a network trains in the user's own loop.

        pruner = gk.compress.Pruner(model, gk.compress.Cubic(0.9, end=1000))
        for batch in data:
            ...  # loss, backward, optimizer.step()
            pruner.step()

    Args:
        model: The network; masks are put on it in place.
        schedule: What to prune to at which step.
        **options: Those of `prune` but ``amount`` and ``threshold``; ``batches`` must be re-iterable.
    """

    def __init__(self, model: nn.Module, schedule: Schedule, **options: Any) -> None:
        for name in ("amount", "threshold"):
            if name in options:
                raise ValueError(f"Pruner: {name} must come from the schedule, got {name}={options[name]}")
        self.model, self.schedule, self.options = model, schedule, options
        self.steps = 0

    def step(self) -> float | None:
        """Counts a step of training; prunes if one is due, and then says to which share of zeros."""
        amount = self.schedule.amount(self.steps)
        self.steps += 1
        if amount is not None:
            prune(self.model, amount, **self.options)
        return amount

    def state_dict(self) -> dict[str, int]:
        """What `load_state_dict` needs to go on; masks are in that of the model."""
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on where the state was taken."""
        self.steps = state["steps"]
