"""The counts of instructions on 64-bit Arm: listings and traces as objdump and qemu write them."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parent.parent / "tools/arm_counts/counts.py"
if not FILE.is_file():
    pytest.skip("needs a checkout", allow_module_level=True)

spec = importlib.util.spec_from_file_location("arm_counts", FILE)
counts = importlib.util.module_from_spec(spec)
sys.modules["arm_counts"] = counts
spec.loader.exec_module(counts)

LISTING = """
calls:     file format elf64-littleaarch64

0000000000400100 <void neon::sgemm_micro_block<float, 8>(float const*)>:
  400100:\t3dc00020 \tldr\tq0, [x1]
  400104:\t4f801000 \tfmla\tv0.4s, v0.4s, v0.s[0]
  400108:\tf9800000 \tprfm\tpldl1keep, [x0]
  40010c:\td65f03c0 \tret

0000000000400110 <main>:
  400110:\tad400440 \tldp\tq0, q1, [x2]
  400114:\t14000000 \tb\t400114 <main+0x4>
"""
TRACE = [
    "Trace 0: 0x7fe2c0000100 [0000000001009331/0000000000400100/00000001/00000201] sgemm_micro_block",
    "Trace 0: 0x7fe2c0000200 [0000000001009331/0000000000400104/00000001/00000201] ",
    "Trace 0: 0x7fe2c0000200 [0000000001009331/0000000000400104/00000001/00000201] ",
    "Trace 0: 0x7fe2c0000300 [0000000001009331/0000000000400108/00000001/00000201] ",
    "Linking TBs 0x7fe2c0000100 [0000000000400100] index 0 -> 0x7fe2c0000200",
    "Trace 0: 0x7fe2c0000400 [0000000001009331/0000000000400110/00000001/00000201] main",
]


def test_every_executed_instruction_counts_once():
    program, executed = counts.read_disassembly(LISTING.splitlines()), counts.read_trace(TRACE)
    assert executed == Counter({0x400100: 1, 0x400104: 2, 0x400108: 1, 0x400110: 1})
    whole = counts.count(executed, program)
    assert whole == counts.Count(executed=5, multiply=2, loads=2, prefetches=1)
    assert whole.per_multiply == 2.5


def test_a_pattern_keeps_to_the_functions_that_it_names():
    program, executed = counts.read_disassembly(LISTING.splitlines()), counts.read_trace(TRACE)
    micro = counts.count(executed, program, r"neon::sgemm_micro_")
    assert micro == counts.Count(executed=4, multiply=2, loads=1, prefetches=1)


def test_a_second_call_is_the_difference_of_two_runs():
    program = counts.read_disassembly(LISTING.splitlines())
    twice = counts.read_trace([*TRACE, *TRACE[1:4]])
    twice.subtract(counts.read_trace(TRACE))
    assert counts.count(twice, program).executed == 3


def test_addresses_before_the_first_function_belong_to_none():
    program = counts.read_disassembly(LISTING.splitlines())
    assert [program.function(at) for at in (0x400000, 0x400110)] == ["", "main"]
