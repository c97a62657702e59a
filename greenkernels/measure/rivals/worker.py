"""The near end of a rival in a process of its own: starts it, lends it memory, gives it turns over a pipe.

It runs on the same cores as everyone else: whoever asks blocks until the answer is there, and idle threads of the
worker sleep (OMP_WAIT_POLICY=PASSIVE).
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..contender import Contender
from .task import Task, inputs_of, output_shape, weights_of

SERVED = Path(__file__).resolve().parent / "served"
ALIGNMENT = 64  # bytes: a cache line, and one AVX-512 load
# These make OpenBLAS take another kernel, blocking or thread number than it would choose by itself.
STEERING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS")


class WorkerError(RuntimeError):
    """The rival failed in its process, died, or did not answer in time."""


@dataclass(frozen=True)
class Service:
    """What to run and how.

    Attributes:
        name: of the rival, for messages.
        program: file that defines ``load``, see ``served/serve.py``.
        python: the interpreter to run it with.
        environment: set on top of this process's.
        start_s, call_s: seconds after which a worker that has not answered is ended: for loading and building, and
            for one request of calls.
    """

    name: str
    program: Path
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 120.0
    call_s: float = 60.0


@dataclass(frozen=True)
class Job:
    """What to build.

    Attributes:
        spec: whatever the program wants to know; must go through JSON.
        constants: float32 weights by name.
        inputs: of the shapes that every call will have, float32; the program knows them as "input0", "input1", ...
        output: shape of what a call makes, float32.
    """

    spec: Mapping[str, Any]
    constants: Mapping[str, Tensor]
    inputs: Sequence[Tensor]
    output: Sequence[int]


class SharedTensors:
    """float32 tensors by name, in memory that another process can map; contiguous, at `offsets` bytes."""

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        self.layout: dict[str, tuple[int, list[int]]] = {}
        size = 0
        for name, shape in shapes.items():
            self.layout[name] = (size, list(shape))
            size += -(-4 * math.prod(shape) // ALIGNMENT) * ALIGNMENT
        self.handle = os.memfd_create(
            "greenkernels"
        )  # gone with the last process that has it: nothing to clean up
        os.ftruncate(self.handle, size)
        memory = mmap.mmap(self.handle, size)
        self.tensors = {
            name: torch.frombuffer(memory, dtype=torch.float32, count=math.prod(shape), offset=offset).view(
                shape
            )
            for name, (offset, shape) in self.layout.items()
        }


class Worker:
    """One rival, built for one job and for the number of threads that torch is set to.

    The process ends with this object, with this process, or when a request fails to come back.

    Attributes:
        version: what the program says that it is.

    Raises:
        WorkerError: it cannot be started, or cannot build the job.
    """

    def __init__(self, service: Service, job: Job) -> None:
        self.service, self._over = service, ""
        arrays = {**job.constants, **{f"input{i}": tensor for i, tensor in enumerate(job.inputs)}}
        shapes: dict[str, Sequence[int]] = {name: tensor.shape for name, tensor in arrays.items()}
        shared = SharedTensors({**shapes, "output": job.output})
        try:
            for name, tensor in arrays.items():
                shared.tensors[name].copy_(tensor.detach())
            self._inputs = [shared.tensors[f"input{i}"] for i in range(len(job.inputs))]
            self._output = shared.tensors["output"]
            # What the rival prints, for the reason if it dies; closed by _end.
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115
            self._process = _start(service, shared.handle, self._errors)
            self._finalizer = weakref.finalize(self, _end, self._process, self._errors)
            request = {
                "program": str(service.program),
                "memory": shared.handle,
                "arrays": shared.layout,
                "spec": dict(job.spec),
                "threads": torch.get_num_threads(),
            }
            self.version: str = self._ask(request, service.start_s)["version"]
        except WorkerError:
            self.close()
            raise
        finally:
            os.close(shared.handle)

    def timer(self, arguments: Sequence[Tensor], inner: int) -> tuple[float, Tensor]:
        """`inner` calls on these arguments: seconds a call by the worker's clock, and the last output.

        Copying arguments in and the output out is not in the time. The output stays valid until the next call.

        Raises:
            WorkerError: the rival failed, died or hung; in the last two cases every later call fails as well.
        """
        for mine, given in zip(self._inputs, arguments, strict=True):
            mine.copy_(given)
        return self._ask({"calls": inner}, self.service.call_s)["seconds"], self._output

    def call(self, *arguments: Tensor) -> Tensor:
        """One call, for those who bring no clock of the worker's along."""
        return self.timer(arguments, 1)[1].clone()

    def close(self, reason: str = "closed") -> None:
        """End the process; further calls fail with the reason."""
        self._over = self._over or reason
        if hasattr(self, "_finalizer"):  # it was started
            self._finalizer()

    def _ask(self, request: Mapping[str, Any], patience_s: float) -> dict[str, Any]:
        if self._over:
            raise WorkerError(self._over)
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._line(patience_s))
        except WorkerError as error:
            self.close(str(error))
            raise
        except OSError:  # the pipe is broken
            self.close(self._obituary())
            raise WorkerError(self._over) from None
        except BaseException:  # Ctrl-C: the answer would come to the next request
            self.close("interrupted")
            raise
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _line(self, patience_s: float) -> bytes:
        stream, got, end = self._process.stdout, b"", time.monotonic() + patience_s
        while not got.endswith(b"\n"):
            ready, _, _ = select.select([stream], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise WorkerError(f"hung: no answer within {patience_s:g} s, ended")
            part = os.read(stream.fileno(), 1 << 16)
            if not part:
                raise WorkerError(self._obituary())
            got += part
        return got

    def _obituary(self) -> str:
        """How it died, and the last thing that it printed."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its pipe, ended"
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"died {how}" + (f": {lines[-1].strip()}" if lines else "")


def served(service: Service, task: Task, spec: Mapping[str, Any], flags: str) -> Contender:
    """The contender that a worker is: contiguous float32 tensors in and out, timed by its own clock."""
    job = Job(spec, weights_of(task), inputs_of(task), output_shape(task))
    worker = Worker(service, job)
    flags = f"own process, {flags}, {torch.get_num_threads()} threads"
    return Contender(service.name, worker.call, timer=worker.timer, version=worker.version, flags=flags)


def _start(service: Service, handle: int, errors: BinaryIO) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if key not in STEERING}
    if service.python != sys.executable:
        environment.pop("PYTHONPATH", None)  # packages of another Python
    threads = str(torch.get_num_threads())
    environment |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": threads, **service.environment}
    try:
        return subprocess.Popen(
            [service.python, str(SERVED / "serve.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            pass_fds=(handle,),
            start_new_session=True,  # Ctrl-C is for this process; this one ends the worker
        )
    except OSError as error:
        raise WorkerError(f"cannot be started with {service.python}: {error.strerror}") from None


def _end(process: subprocess.Popen[bytes], errors: BinaryIO) -> None:
    """Kill the process and whatever it started; harmless if it is gone."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, errors):
        with contextlib.suppress(OSError):  # bytes not sent to a dead reader
            stream.close()
