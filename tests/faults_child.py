"""Programs that tests/faults.cpp is preloaded under: each allocation of a call fails once; a writer dies at each step.

``allocations CALLS NAME...`` and ``kills FOLDER`` print what went wrong, a line each, and then how many faults there
were. A name is that of an op or a module, with /dtype where it is not the first one, or of one of `OTHERS`; of the ways
to call it the first so many are tried.
"""

import ctypes
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tools" / "fuzz")]
import cases  # noqa: E402
from verdicts import Problem, Verdict  # noqa: E402

import greenkernels as gk  # noqa: E402

TOGETHER = 4  # forks side by side
FAULTS = ctypes.CDLL(None)
FAULTS.fault_allocations.restype = ctypes.c_long


def watch_the_kernels() -> None:
    """Counts the allocations of the compiled kernels alone."""
    name = str(gk._build.status().path)
    parts = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(name)]
    begin, end = next(part[0] for part in parts if "x" in part[1]).split("-")
    FAULTS.fault_watch(ctypes.c_void_p(int(begin, 16)), ctypes.c_void_p(int(end, 16)))


def in_forks(*does: Callable[[], str]) -> list[tuple[int, str]]:
    """How forks that did this side by side ended, and what each said."""
    begun, ended = [], []
    for what in does:
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writes, what().encode())
            except BaseException as error:
                os.write(writes, f"failed: {error!r}".encode())
            os._exit(0)
        os.close(writes)
        begun.append((child, reads))
    for child, reads in begun:
        _, status = os.waitpid(child, 0)
        with os.fdopen(reads) as said:
            ended.append((status, said.read()))
    return ended


def with_a_failing_allocation(problem: Problem, verdict: Verdict, call: object, which: int) -> str:
    """ "" where the call raised an error and was right the next time, "end" where it has not so many allocations."""
    torch.set_num_threads(2)
    reason = None
    FAULTS.fault_fail_allocation(ctypes.c_long(which))
    try:
        with torch.no_grad():
            reason = verdict.fault(call(problem.x))
    except (RuntimeError, MemoryError) as error:
        if "out of memory" not in str(error) and "bad_alloc" not in str(error):
            return f"raised {error!r}"
    made = FAULTS.fault_allocations()
    FAULTS.fault_fail_allocation(ctypes.c_long(0))
    with torch.no_grad():
        after = verdict.fault(call(problem.x))
    if reason or after:
        return f"gave {reason}, and after it {after}"
    return "end" if made < which else ""


def large_map() -> Problem:
    """A convolution whose output lies in memory that is kept."""
    x, weight = torch.randn(1, 8, 64, 64), torch.randn(8, 8, 3, 3)
    exact = nn.functional.conv2d(x.double(), weight.double(), padding=1)
    return Problem(x, [lambda x: gk.ops.winograd_conv2d(x, weight, padding=1)], lambda x: (exact, 1e-3))


def gradients(what: int) -> Problem:
    """Of a convolution by its own kernels, with respect to its input or its weight."""
    x, weight, grad = torch.randn(2, 8, 12, 12), torch.randn(8, 8, 3, 3), torch.randn(2, 8, 12, 12)
    ops, stock = torch.ops.greenkernels, torch.nn.grad
    if what == 0:
        exact = stock.conv2d_input(x.shape, weight.double(), grad.double(), padding=1)
        return Problem(
            grad,
            [lambda grad: ops.winograd_conv2d_input_grad(grad, weight, [1, 1], 4)],
            lambda _: (exact, 1e-3),
        )
    exact = stock.conv2d_weight(x.double(), weight.shape, grad.double(), padding=1)
    return Problem(
        x, [lambda x: ops.winograd_conv2d_weight_grad(x, grad, [1, 1], 4)], lambda _: (exact, 1e-3)
    )


def sparse_gradient() -> Problem:
    """Of a product with respect to the nonzeros of its weight, in rows and columns of their places."""
    weight = torch.randn(17, 9).relu()
    csr, x, grad = weight.to_sparse_csr(), torch.randn(40, 9), torch.randn(40, 17)
    crow, col, ops = csr.crow_indices(), csr.col_indices(), torch.ops.greenkernels
    exact = (grad.double().mT @ x.double())[weight != 0]

    def of_values(x: torch.Tensor) -> torch.Tensor:
        ops.csr_matmul_transpose(crow, col, 9)
        return ops.csr_matmul_values_grad(crow, col, grad, x)

    return Problem(x, [of_values], lambda _: (exact, 1e-4))


OTHERS = {
    "large map": large_map,
    "gradient of the input": lambda: gradients(0),
    "gradient of the weight": lambda: gradients(1),
    "gradient of nonzeros": sparse_gradient,
}


def allocations(most: int, names: list[str]) -> int:
    """Calls of forks, which have run nothing yet: scratch memory is kept from call to call."""
    watch_the_kernels()
    tried = 0
    for op in names:
        problem = OTHERS[op]() if op in OTHERS else problem_of(*op.split("/"))
        verdict = Verdict(problem, problem.x)
        for place, call in enumerate(problem.calls[:most]):
            for first in range(1, 1000, TOGETHER):
                numbers = range(first, first + TOGETHER)
                ended = in_forks(
                    *(partial(with_a_failing_allocation, problem, verdict, call, n) for n in numbers)
                )
                tried += sum(said != "end" for _, said in ended)
                for which, (status, said) in zip(numbers, ended, strict=True):
                    if status or said not in ("", "end"):
                        print(f"{op} call {place}, allocation {which}: status {status} {said}")
                if ended[-1][1] == "end":
                    break
    return tried


def problem_of(op: str, dtype: str = "") -> Problem:
    draws = (cases.draw_of(op, number) for number in range(1000))
    kind = dtype or cases.MAKERS[op][1][0], "edge"
    return cases.Draw(*next(draw for draw in draws if draw[1:3] == kind)).problem


class Writer(NamedTuple):
    """Something that keeps a file: writes version 0 or 1 of it, and tells which one is there."""

    write: Callable[[int], object]
    read: Callable[[], int]


def writers(folder: Path) -> dict[str, Writer]:
    """Each of the files that users keep."""
    from greenkernels.energy.calibration import UNKNOWNS, Calibration
    from greenkernels.measure.rows import write_json
    from greenkernels.ops import strassen_levels
    from greenkernels.planning.cache import Cache
    from greenkernels.report.files import write_whole

    os.environ["GREENKERNELS_CACHE"] = str(folder / "cache")
    cache, model, file = Cache({"a": 1}), nn.Linear(40, 50), folder / "file"
    plan = gk.plan(nn.Sequential(nn.Linear(8, 9)).eval(), torch.zeros(1, 8), measure=False)

    def save_plan(version: int) -> None:
        plan.max_error = version
        plan.save(folder / "plan.json")

    def save_model(version: int) -> None:
        model.weight.data.fill_(version)
        gk.save(model, folder / "net")

    def read_model() -> int:
        gk.load(model, folder / "net")
        (value,) = set(model.weight.flatten().tolist())
        return int(value)

    def save_levels(version: int) -> None:
        strassen_levels.tune_levels(9, 9, 9, time_levels=lambda *_: {0: 1.0 + version, 1: 2.0 - version})

    def save_table(version: int) -> None:
        costs = dict.fromkeys(UNKNOWNS, 1e-12)
        Calibration({}, costs, 0.0, "a test").save(folder / "table.json", f"mine {version}")

    def json_of(name: str) -> Any:
        return json.loads((folder / name).read_text())

    return {
        "plan": Writer(save_plan, lambda: int(gk.Plan.load(folder / "plan.json").max_error)),
        "weights": Writer(save_model, read_model),
        "cache": Writer(
            lambda v: cache.write("kind", "key", {"b": v}), lambda: cache.read("kind", "key").data["b"]
        ),
        "levels": Writer(save_levels, lambda: gk.ops.choose_levels(9, 9, 9)),
        "table": Writer(save_table, lambda: int(json_of("table.json")["name"].split()[1])),
        "rows": Writer(lambda v: write_json(folder / "rows.json", v), lambda: json_of("rows.json")),
        "report": Writer(
            lambda v: write_whole(file, bytes([v]) * 9), lambda: int.from_bytes(set(file.read_bytes()))
        ),
    }


def dies_at(writer: Writer, step: int) -> str:
    FAULTS.fault_die_at(ctypes.c_long(step))
    writer.write(1)
    return "end"


def kills(folder: Path) -> int:
    """Whatever step is the last of a writer, its file is whole, and can be written again."""
    tried = 0
    for name, writer in writers(folder).items():
        for step in range(1, 100):
            writer.write(0)
            ((status, said),) = in_forks(partial(dies_at, writer, step))
            if said == "end":
                break
            tried += 1
            ((_, found),) = in_forks(lambda: str(writer.read()))  # noqa: B023
            ((_, again),) = in_forks(lambda: str((writer.write(1), writer.read())[1]))  # noqa: B023
            if os.WTERMSIG(status) != signal.SIGKILL or found not in ("0", "1") or again != "1":
                print(f"{name} step {step}: status {status} {said}, found {found}, then {again}")
    return tried


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # a fork has no others
    what, *rest = sys.argv[1:]
    print(allocations(int(rest[0]), rest[1:]) if what == "allocations" else kills(Path(rest[0])))
