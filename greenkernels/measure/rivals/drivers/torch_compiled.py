"""torch.compile with inductor and frozen weights; a call that did not run the compiled code is an error."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

import torch

from ...._toolchain import BuildError, find_compiler
from ...contender import Contender
from .. import CannotRun, ConvTask, LinearTask, MatmulTask, NetworkTask, Rival, Task
from ..task import inputs_of, module_of
from .torch_eager import in_format

NAME = "torch compiled"


class Counted:
    """inductor as a backend, counting the runs of what it compiled.

    Attributes:
        calls: of the function that was handed to torch.compile.
        runs: of compiled code; at least one a call, or torch fell back to eager code.
    """

    def __init__(self, threads: int) -> None:
        self.calls = self.runs = 0
        # The generated code has the thread number in it; as an option it is part of the key of inductor's cache too.
        self.options = {"freezing": True, "cpp.threads": threads}

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        from torch._inductor.compile_fx import compile_fx

        compiled = compile_fx(graph, inputs, config_patches=self.options)

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return compiled(*arguments)

        return run

    def proof(self) -> str | None:
        if self.runs >= self.calls:
            return None
        return f"{self.calls - self.runs} of {self.calls} calls ran no compiled code"


def version() -> str:
    try:
        find_compiler()
    except BuildError as error:
        raise CannotRun(f"inductor needs a C++ compiler: {error.cause}. {error.mend}") from None
    return torch.__version__


def with_code_of_its_own(work: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls `work`. dynamo keeps what it compiled by code object, and only so many of one."""

    def run(*arguments: Any) -> Any:
        return work(*arguments)

    return FunctionType(run.__code__.replace(), run.__globals__, closure=run.__closure__)


def build(task: Task) -> Contender:
    counted = Counted(torch.get_num_threads())
    work = torch.mm if isinstance(task, MatmulTask) else copy.deepcopy(module_of(task))
    if isinstance(task, ConvTask | NetworkTask):
        work = work.to(memory_format=torch.channels_last)
    whole = not isinstance(task, NetworkTask)  # a network may be compiled in parts
    compiled = torch.compile(with_code_of_its_own(work), backend=counted, fullgraph=whole, dynamic=False)

    def call(*arguments: Any) -> Any:
        counted.calls += 1
        return compiled(*arguments)

    prepare = partial(in_format, torch.channels_last)
    with torch.inference_mode():  # the mode in which it will be called, or it would be compiled again
        call(*prepare(inputs_of(task)))
    flags = f"inductor, frozen, channels_last, {torch.get_num_threads()} threads"
    return Contender(NAME, call, prepare, version=torch.__version__, flags=flags, proof=counted.proof)


RIVALS = (
    Rival(
        name=NAME,
        about="inductor with freezing, maps in channels_last, proven to run compiled code",
        tasks=(ConvTask, LinearTask, MatmulTask, NetworkTask),
        version=version,
        build=build,
    ),
)
