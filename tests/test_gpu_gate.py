"""The gate for CUDA kernels: listings, budgets, and what it says when a kernel is over one."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from greenkernels.ptxsim.statistics import Counts, Traffic, sum_of

FOLDER = Path(__file__).resolve().parent.parent / "tools/gpu_gate"
if not FOLDER.is_dir():
    pytest.skip("needs a checkout", allow_module_level=True)


def load(name: str) -> ModuleType:
    """A file of the gate, which is a program and no package."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def _only_here():
    """The names of the gate's files are not for other tests."""
    yield
    for name in ("resources", "sass", "budget", "simulated"):
        sys.modules.pop(name, None)


resources, sass, budget, simulated = (load(name) for name in ("resources", "sass", "budget", "simulated"))

LISTING = """
.text._ZN12greenkernels4cuda11demo_kernelILb1ELi4EEEvi:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   FFMA R2, R2, R3, R4 ;
        /*0020*/              @!PT LDS RZ, [RZ] ;
        /*0030*/               @P1 BRA `(.L_x_1) ;
.L_x_2:
        /*0040*/                   LDS.128 R8, [R3] ;
        /*0050*/                   LDS R8, [R3+0x10] ;
        /*0060*/                   FFMA R2, R8, R3, R4 ;
        /*0070*/                   FFMA R2, R9, R3, R4 ;
        /*0080*/              @!P0 CALL.REL.NOINC `(.L_x_3) ;
        /*0090*/               @P0 BRA `(.L_x_2) ;
.L_x_3:
        /*00a0*/                   EXIT ;
.L_x_4:
        /*00b0*/                   BRA `(.L_x_4);
"""
LOG = """
ptxas info    : Compiling entry function '_Z1kv' for 'sm_80'
ptxas info    : Function properties for _Z1kv
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 512 bytes smem, 400 bytes cmem[0]
"""


def test_the_hottest_loop_is_the_one_that_multiplies_most() -> None:
    (listing,) = sass.kernels_of(LISTING).values()
    assert listing.loops == ((1, 2), (3, 8))
    assert listing.hottest() == ("LDS.128", "LDS", "FFMA", "FFMA", "BRA", "BRA")
    of_matrices = LISTING.replace("FFMA R2, R2, R3, R4", "IMMA.16832.S8.S8 R4, R2.ROW, R8.COL, R4")
    (listing,) = sass.kernels_of(of_matrices).values()
    assert listing.hottest() == ("IMMA.16832.S8.S8", "BRA")


def test_the_mix_of_a_loop() -> None:
    (listing,) = sass.kernels_of(LISTING).values()
    found = sass.mix(listing.hottest())
    assert (found["loop"], found["divergent"], found["mma"]) == (6, 0, 0)
    assert (found["ffma_share"], found["lds128_share"]) == (pytest.approx(1 / 3), 0.5)
    assert sass.mix(("IADD3", "BRA.DIV"))["lds128_share"] is None
    assert sass.mix(("IMMA.16832.S8.S8", "BRA.DIV"))["divergent"] == 1
    assert sass.mix(("FFMA", "NOP", "NOP"))["ffma_share"] == 1


def test_resources_are_those_of_ptxas() -> None:
    assert resources.resources_of(LOG) == {"_Z1kv": resources.Resources(40, 8, 16, 512)}


def test_a_log_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="something else than expected"):
        resources.resources_of(LOG.replace("Used 40 registers", "Used nothing"))


@pytest.mark.parametrize(
    ("limits", "breaches"),
    [
        ({"max": {"registers": 40}, "min": {"ffma_share": 0.5}}, []),
        ({"max": {"registers": 39}}, ["registers must be at most 39, got 40"]),
        ({"min": {"ffma_share": 0.6}}, ["ffma_share must be at least 0.6, got 0.5"]),
        ({"min": {"lds128_share": 1}}, ["lds128_share must be at least 1, got none"]),
    ],
)
def test_breaches(limits: dict, breaches: list[str]) -> None:
    measures = {"registers": 40, "ffma_share": 0.5, "lds128_share": None}
    assert budget.breaches_of(measures, limits) == breaches


def test_simulated_ratios_have_a_limit() -> None:
    ratios = {"shared load in a.cuh:1": 1.0, "global store in a.cuh:2": 4.0}
    assert budget.judge_simulation({"max_ratio": 1.05}, ratios) == [
        "global store in a.cuh:2 must be at most 1.05x the ideal, got 4x"
    ]


def test_every_hot_line_is_looked_at_alone() -> None:
    """A good line makes no bad one better; what moves next to nothing is no hot line."""

    def launch(**units: tuple[int, int]) -> SimpleNamespace:
        lines = {
            line: Counts(1, 1, {"global load": Traffic(1, 1, *of_line)}) for line, of_line in units.items()
        }
        statistics = SimpleNamespace(by_line=lambda: lines, total=lambda: sum_of(lines.values()))
        return SimpleNamespace(statistics=statistics)

    launches = [launch(good=(900, 900), bad=(60, 30), rare=(40, 10)), launch(bad=(30, 10))]
    assert simulated.ratios_of(launches) == {"global load in good": 1.0, "global load in bad": 3.0}


def test_a_kernel_without_a_budget_is_a_breach() -> None:
    (name, listing), *_ = sass.kernels_of(LISTING).items()
    used = resources.Resources(40, 0, 0, 512)
    verdict = budget.judge({"kernels": []}, None, 80, name, used, listing)
    assert verdict.kernel == "demo_kernel<1,4>"
    assert verdict.breaches == ["budget.json has no entry for it"]


def test_a_short_name_has_the_arguments_of_a_template() -> None:
    assert budget.short_name("_ZN12greenkernels4cuda11demo_kernelILi16ELb1EEEvi") == "demo_kernel<16,1>"
    mangled = "_ZN12greenkernels4cuda21winograd_fused_kernelILNS0_10FusedLoadsE2EEEvi"
    assert budget.short_name(mangled) == "winograd_fused_kernel<2>"
    mangled = "_ZN12greenkernels4cuda11demo_kernelINS0_4TileILi1ELi4EEELb1EEEvNS_4ArgsEi"
    assert budget.short_name(mangled) == "demo_kernel<1,4,1>"


def test_no_kernel_may_spill() -> None:
    limits = json.loads((FOLDER / "budget.json").read_text())
    assert limits["every_kernel"]["max"]["spill_bytes"] == 0
    assert all(entry["max_ratio"] <= 1.05 for entry in limits["simulations"])
