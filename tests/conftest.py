"""Fixtures of all tests: ``isa`` (each level this CPU has), ``device``, ``backend``, ``gpu``, a seed, no old graphs."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from cuda_backends import BACKENDS, Hardware, Simulated

from greenkernels import PlainTorchWarning, _build, _isa

PLAIN_TORCH = "plain-torch"  # the one level there is without compiled kernels


def isa_names() -> tuple[str, ...]:
    """Loads the kernels, building them if need be, before the first test does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlainTorchWarning)  # the header of the report says it
        return _isa.levels() or (PLAIN_TORCH,)


@dataclass(frozen=True)
class Backend:
    """Where an op runs."""

    device: str

    def op(self, stem: str) -> Callable[..., Any]:
        """The op as torch registers it, with positional arguments."""
        return getattr(torch.ops.greenkernels, stem)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also what is too long for CI")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what is marked as long, unless it was asked for."""
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="too long for CI; with --long"))


def pytest_report_header() -> str:
    """Names the build under test, so that a log of a run on plain torch cannot pass for another."""
    names = ", ".join(isa_names())
    status = _build.status()
    return f"greenkernels: {status.kind}, instruction sets: {names}" + (
        f" ({status.reason})" if status.reason else ""
    )


def pytest_configure(config: pytest.Config) -> None:
    isa_names()


@pytest.fixture(params=isa_names())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once per instruction set of this CPU, with that one forced."""
    with nullcontext() if request.param == PLAIN_TORCH else _isa.forced(request.param):
        yield request.param


@pytest.fixture(params=["cpu"])
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def backend(device: str) -> Backend:
    return Backend(device)


@pytest.fixture(scope="session", params=["simulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Simulated | Hardware:
    """Runs the test of a CUDA op on the simulator, and on a GPU where there is one."""
    return BACKENDS[request.param]()


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _forgets_graphs() -> Iterator[None]:
    """torch keeps eight compiled graphs of a function, and all modules of a base class share one forward."""
    yield
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None and dynamo.utils.counters["stats"]:
        dynamo.utils.counters.clear()
        dynamo.reset()
