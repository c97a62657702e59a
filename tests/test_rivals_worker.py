"""The worker process of a rival: turns, and every way in which one can fail. The rival is tests/rival_program.py."""

import gc
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from synthetic_clock import SyntheticClock, contender

from greenkernels.measure import Contender, Schedule, take_turns
from greenkernels.measure.rivals.worker import Job, Service, Worker, WorkerError

PROGRAM = Path(__file__).with_name("rival_program.py")
X = torch.arange(12.0).reshape(3, 4)

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="workers are for Linux")


def worker(does="doubles", call_s=60.0, constants=None, **service):
    job = Job({"does": does}, constants or {}, (X,), X.shape)
    return Worker(Service("fake", PROGRAM, call_s=call_s, **service), job)


def gone(pid, patience_s=10.0):
    """True once no process has that number, or only one that nobody has buried yet."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_gives_the_time_and_the_last_output():
    it = worker()
    for x in (X, -X):
        seconds, output = it.timer((x,), 3)
        assert torch.equal(output, 2 * x)
        assert seconds > 0
    assert torch.equal(it.call(X), 2 * X)


def test_gets_inputs_of_any_layout():
    assert torch.equal(worker().call(X.T.contiguous().T), 2 * X)


def test_gets_the_weights():
    assert torch.equal(worker(constants={"weight": torch.full((2, 1), 7.0)}).call(X), 7 * X)


def test_is_told_threads_and_how_to_wait(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "1")
    n = torch.get_num_threads()
    assert worker().version == (
        f"{n} threads OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS={n} OPENBLAS_CORETYPE=None OPENBLAS_L2_SIZE=None"
    )


def test_what_it_prints_is_no_answer():
    assert torch.equal(worker("prints").call(X), 2 * X)


def test_an_error_is_told_and_the_worker_goes_on():
    it = worker("raises")
    with pytest.raises(WorkerError, match=r"^ArithmeticError: a one$"):
        it.timer((X + 1,), 1)
    assert torch.equal(it.call(X), 2 * X)


def test_an_output_of_another_size_is_an_error():
    with pytest.raises(WorkerError, match="ValueError: output has 44 bytes, expected 48"):
        worker("forgets the last").timer((X,), 1)


def test_death_is_told_and_lasts():
    it = worker("dies")
    for _ in range(2):
        with pytest.raises(WorkerError, match=r"^died by SIGSEGV$"):
            it.timer((X,), 1)


def test_a_hung_worker_is_ended():
    it = worker("hangs", call_s=0.2)
    for _ in range(2):
        with pytest.raises(WorkerError, match=r"hung: no answer within 0.2 s, ended"):
            it.timer((X,), 1)
    assert it._process.poll() is not None


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("fails to load", "ImportError: no engine for this CPU"),
        ("dies while it loads", "died with exit code 3: out of memory"),
    ],
)
def test_what_goes_wrong_at_the_start_is_told(does, says):
    with pytest.raises(WorkerError, match=f"^{says}$"):
        worker(does)


def test_a_python_that_is_not_there_is_told():
    with pytest.raises(WorkerError, match="cannot be started with no/such/python: No such file or directory"):
        worker(python="no/such/python")


def test_an_interrupt_ends_it(monkeypatch):
    it = worker()

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(select, "select", interrupted)
        with pytest.raises(KeyboardInterrupt):
            it.timer((X,), 1)
    assert it._process.poll() is not None
    with pytest.raises(WorkerError, match=r"^interrupted$"):  # its answer must not be taken for this one's
        it.timer((X,), 1)


def test_ends_with_its_object_and_leaves_no_file_open():
    it = worker()
    pid, before = it._process.pid, len(os.listdir("/proc/self/fd"))
    del it
    gc.collect()
    assert gone(pid)
    assert len(os.listdir("/proc/self/fd")) < before


def test_ends_with_the_process_that_started_it():
    start = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import test_rivals_worker as t;"
        "it = t.worker('hangs'); print(it._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", start, str(PROGRAM.parent)], capture_output=True, text=True, timeout=120
    )
    assert gone(int(done.stdout))


def test_in_a_run_everyone_who_fails_is_thrown_out():
    clock = SyntheticClock()
    workers = {does: worker(does, call_s=2.0) for does in ("doubles", "is wrong", "dies", "hangs")}
    entries = [contender("here", clock, 0.01)]
    entries += [Contender(does, it.call, timer=it.timer) for does, it in workers.items()]
    turns = take_turns(
        entries,
        (X,),
        Schedule(rounds=2),
        reference=lambda x: 2 * x.double(),
        tolerance=1e-6,
        clock=clock,
    )
    assert turns.thrown_out == {
        "is wrong": "relative error 5.0e-02, allowed 1.0e-06",
        "dies": "raised WorkerError: died by SIGSEGV",
        "hangs": "raised WorkerError: hung: no answer within 2 s, ended",
    }
    assert set(turns.ranked()) == {"here", "doubles"}
