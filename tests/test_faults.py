"""Faults around a call: forks, threads, signals, a full disk, no memory, the end of the interpreter."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conv_cases import needs_kernels
from torch import nn

import greenkernels as gk
from greenkernels.nn import __all__ as modules

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools" / "fuzz"))
import cases
from verdicts import Problem


def in_a_process(program: str, limit_s: float = 120) -> subprocess.CompletedProcess[str]:
    """What a fresh interpreter made of a program; one that hangs fails the test."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=limit_s, check=False
    )


def assert_prints(program: str, expected: str) -> None:
    done = in_a_process(program)
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


def drawn(name: str) -> Problem:
    """The first problem of a module that the fuzzer draws around the sizes of tiles."""
    draws, threads = (cases.draw_of(name, number) for number in range(1000)), torch.get_num_threads()
    problem = cases.Draw(*next(draw for draw in draws if draw[2] == "edge")).problem
    torch.set_num_threads(threads)  # as it was
    return problem


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("name", sorted(set(modules) & set(cases.MAKERS)))
def test_64_threads_call_one_module(name):
    """From its first call on, in which it packs its weight."""
    twin, problem = drawn(name), drawn(name)

    def call(_):
        with torch.inference_mode():
            return problem.calls[0](problem.x)

    with torch.inference_mode():
        expected = twin.calls[0](twin.x)
    with ThreadPoolExecutor(64) as pool:
        results = list(pool.map(call, range(256)))
    torch.testing.assert_close(results, [expected] * 256, rtol=0, atol=0, equal_nan=True)


USED = """
import os, signal, sys, threading, time
import torch
import greenkernels as gk
x, w = torch.randn(4, 32, 28, 28), torch.randn(32, 32, 3, 3)
expected = gk.ops.winograd_conv2d(x, w)
"""


@needs_kernels
def test_workers_that_fork_after_use():
    """As DataLoader does: the threads of the parent do not exist in the child."""
    program = """
class Data(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, index): return float(torch.equal(gk.ops.winograd_conv2d(x, w), expected))
if __name__ == "__main__":
    loader = torch.utils.data.DataLoader(Data(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    print(sum(batch.sum().item() for batch in loader), torch.equal(gk.ops.winograd_conv2d(x, w), expected))
"""
    assert_prints(USED + program, "8.0 True")


@needs_kernels
def test_a_fork_while_threads_compute():
    """Whatever lists of memory they were at."""
    program = """
torch.set_num_threads(1)
large, filters = torch.randn(1, 8, 64, 64), torch.randn(8, 8, 3, 3)
right = gk.ops.winograd_conv2d(large, filters)
done = threading.Event()
def work():
    while not done.is_set():
        gk.ops.winograd_conv2d(large, filters)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
ends = []
for _ in range(60):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(not torch.equal(gk.ops.winograd_conv2d(large, filters), right))
    ends.append(os.waitpid(child, 0)[1])
done.set()
print(sum(ends))
"""
    assert_prints(USED + program, "0")


@needs_kernels
def test_a_signal_in_a_long_call_waits_for_its_end():
    program = """
big, weight = torch.randn(16, 64, 112, 112), torch.randn(64, 64, 3, 3)
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        gk.ops.winograd_conv2d(big, weight)
except KeyboardInterrupt:
    print("interrupted", torch.equal(gk.ops.winograd_conv2d(x, w), expected))
"""
    assert_prints(USED + program, "interrupted True")


@needs_kernels
def test_the_interpreter_ends_while_threads_compute():
    """It waits for what is no daemon; the calls of these, after the main thread is gone, are right."""
    program = """
results = []
def work():
    threading.main_thread().join()
    results.extend(torch.equal(gk.ops.winograd_conv2d(x, w), expected) for _ in range(50))
    print(len(results) if all(results) else "wrong", flush=True)
threading.Thread(target=work).start()
"""
    assert_prints(USED + program, "50")


@needs_kernels
def test_no_memory_for_a_result_is_an_error_and_the_next_call_works():
    program = """
import resource
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (300 << 20), resource.RLIM_INFINITY))
failed = 0
for name in ("winograd_conv2d", "direct_conv2d", "strassen_conv2d"):
    kernel = torch.randn(64, 1, 1, 1) if name == "strassen_conv2d" else torch.randn(64, 1, 3, 3)
    try:
        getattr(gk.ops, name)(torch.zeros(1, 1, 1, 1).expand(1, 1, 2048, 2048), kernel)  # 1 GiB
    except (RuntimeError, MemoryError):
        failed += 1
print(failed, torch.equal(gk.ops.winograd_conv2d(x, w), expected))
"""
    assert_prints(USED + program, "3 True")


def test_a_full_disk_loses_no_file(tmp_path):
    """A limit on the size of files in the place of a disk: writing fails in the middle."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 60))
    path = gk.save(model, tmp_path / "net")
    before = path.read_bytes()
    program = f"""
import resource, signal
import torch
import greenkernels as gk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    gk.save(torch.nn.Sequential(torch.nn.Linear(50, 60)), {str(path)!r})
except OSError as error:
    print(error.strerror)
"""
    assert_prints(program, "File too large")
    assert path.read_bytes() == before
    gk.load(model, path)
    assert gk.save(model, path) == path  # over what the failed one left
    assert [file.name for file in tmp_path.iterdir()] == ["net"]


def test_a_full_disk_keeps_no_half_plan(tmp_path):
    program = f"""
import os, resource, signal, warnings
os.environ["GREENKERNELS_CACHE"] = {str(tmp_path)!r}
from greenkernels.planning.cache import Cache, CacheWarning
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = Cache({{"a": 1}})
cache.write("kind", "key", {{"b": 1}})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cache.write("kind", "key", {{"b": "2" * 1000}})
print(cache.read("kind", "key").data, [w.category is CacheWarning for w in caught])
"""
    assert_prints(program, "{'b': 1} [True]")
