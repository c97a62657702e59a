"""Copies of a user's model, and the promise that planning leaves the model and torch's global state as they were."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def copy_model(model: nn.Module) -> nn.Module:
    """A deep copy that also works after a forward of old weight_norm and of pruned modules.

    Those leave a computed weight behind as a plain attribute, a non-leaf tensor that deepcopy refuses. The copy gets
    a detached one, which its next forward computes anew.
    """
    computed: dict[int, Tensor] = {}
    for module in model.modules():
        for value in module.__dict__.values():
            if isinstance(value, Tensor) and not value.is_leaf:
                computed[id(value)] = value.detach().clone()
    with torch.inference_mode(False):
        return copy.deepcopy(model, dict(computed))


@contextlib.contextmanager
def torch_state_kept() -> Iterator[None]:
    """Restores the random state and the number of threads, whatever happens within."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
