"""Runs traced graphs beside the forwards that they came from: a graph counts only if it computes the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.immutable_collections import immutable_dict, immutable_list

from ...measure.rotation import clone, relative_error

SAME = 1e-6  # relative: the same kernels in the same order, but libraries may share out sums in another way

Kind = tuple[torch.Size, torch.dtype]  # of a value


class _Recorder(fx.Interpreter):
    """Runs a graph, and keeps shape and type of each value that is a tensor."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, graph=graph)
        self.kinds: dict[fx.Node, Kind] = {}

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if isinstance(value, Tensor):
            self.kinds[node] = value.shape, value.dtype
        return value


def prove(
    model: nn.Module, graphs: Mapping[nn.Module, fx.Graph], run: Callable[[nn.Module], Any]
) -> dict[nn.Module, dict[fx.Node, Kind]]:
    """Module -> kinds of its values in one forward of the network, for graphs that compute what their module does."""
    proven: dict[nn.Module, dict[fx.Node, Kind]] = {}
    wrong: set[nn.Module] = set()
    running: list[nn.Module] = []  # graphs; what they call runs as it is

    def beside(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if running or module in wrong:
                return forward(*args, **kwargs)
            recorder, twins = _Recorder(module, graphs[module]), clone(args)
            running.append(module)
            try:
                output = _plain(recorder.run(*twins))
            except Exception:  # whatever it is, the module's own forward says it, or does without
                wrong.add(module)
            finally:
                running.pop()
            expected = forward(*args, **kwargs)
            # The arguments too: a forward may write to them, where its graph makes new tensors.
            if module not in wrong and not _same([output, twins], [expected, args]):
                wrong.add(module)
            proven[module] = recorder.kinds
            return expected

        return call

    with _replaced(list(graphs), beside), torch.inference_mode():
        run(model)
    return {module: kinds for module, kinds in proven.items() if module not in wrong}


def _plain(value: Any) -> Any:
    """torch.fx's immutable lists and dicts as those that the code of the graph makes."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()} if type(value) is immutable_dict else value
    if type(value) is immutable_list:
        return [_plain(item) for item in value]
    return tuple(map(_plain, value)) if type(value) is tuple else value


def _same(mine: Any, theirs: Any) -> bool:
    try:
        return relative_error(mine, theirs) <= SAME
    except (TypeError, ValueError, RuntimeError):  # a class of outputs that cannot be taken apart
        return False


@contextlib.contextmanager
def _replaced(
    modules: list[nn.Module], make: Callable[[nn.Module, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    try:
        for module in modules:
            module.__dict__["forward"] = make(module, module.forward)
        yield
    finally:
        for module in modules:
            module.__dict__.pop("forward", None)
