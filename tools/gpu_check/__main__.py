"""Tests and times the CUDA kernels on a GPU and writes one JSON file; ``tools/gpu_check.sh`` says how to call it."""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from cases import Case, all_cases
from timing import Timing, as_graphs, joules, times

import greenkernels as gk
from greenkernels import _build
from greenkernels.measure import Clock

HERE = Path(__file__).resolve().parent
SCHEMA = 2  # 1 timed calls one by one alone


def main(arguments: list[str] | None = None) -> int:
    """Writes the file; 1 if a test or a kernel of ours failed or is wrong, 2 if there is nothing to check on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument(
        "--dry-run", action="store_true", help="the same path on CPU tensors of a few elements"
    )
    parser.add_argument("--no-tests", action="store_true", help="leave out the tests of marker gpu")
    chosen = parser.parse_args(arguments)
    missing = None if chosen.dry_run else what_is_missing()
    if missing:
        print(f"gpu_check: {missing}", file=sys.stderr)
        return 2
    device = "cpu" if chosen.dry_run else "cuda"
    torch.backends.cudnn.benchmark = True  # torch's convolutions at their best
    tests = None if chosen.no_tests else run_tests(chosen.dry_run)
    found = {
        "schema": SCHEMA,
        "kind": "dry run" if chosen.dry_run else "measured",
        **facts(device),
        "tests": tests,
    }
    rows: list[dict[str, object]] = []
    try:
        for row in rows_of(
            all_cases(device, small=chosen.dry_run), Timing.dry() if chosen.dry_run else Timing()
        ):
            rows.append(row)
    finally:  # what was found before an error is kept
        chosen.out.write_text(json.dumps({**found, "rows": rows}, indent=1) + "\n")
        print(f"wrote {chosen.out}")
    wrong = [row for row in rows if row.get("wrong") or (row["ours"] and "failed" in row)]
    for row in wrong:
        print(f"wrong: {row['case']}, {row['contender']} {row.get('failed', '')}", file=sys.stderr)
    return 1 if wrong or (tests and tests["status"]) else 0


def what_is_missing() -> str | None:
    """Why nothing can be checked here; None if all is there."""
    if not torch.cuda.is_available():
        return "torch sees no GPU; --dry-run tries the path without one"
    _build.ensure_loaded()
    if not torch._C._dispatch_has_kernel_for_dispatch_key("greenkernels::sgemm", "CUDA"):
        return f"the binary has no CUDA kernels ({gk.info()['kind']}); `greenkernels doctor` says why"
    return None


def run_tests(dry: bool) -> dict[str, object]:
    """The tests of marker gpu: exit status of pytest, and its last line. In a dry run they are only collected."""
    # From the folder of the tests, so that not the checkout's package is found, but the one that is installed.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "."]
    command += ["--collect-only"] if dry else []
    done = subprocess.run(command, cwd=HERE.parent.parent / "tests", capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    print(lines[-1])
    if done.returncode:
        print(done.stdout[-4000:] + done.stderr[-2000:], file=sys.stderr)
    return {"status": done.returncode, "summary": lines[-1]}


def facts(device: str) -> dict[str, object]:
    """When and where."""
    name = "none (dry run)" if device == "cpu" else torch.cuda.get_device_name()
    capability = None if device == "cpu" else ".".join(map(str, torch.cuda.get_device_capability()))
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "greenkernels": gk.__version__}
    return {"date": date, "device": name, "capability": capability, "versions": versions}


def rows_of(cases: Iterable[Case], timing: Timing) -> Iterator[dict[str, object]]:
    """A row for each contender of each case: times in turns, the error, joules where the case is named for them."""
    for case in cases:
        exact = case.exact()
        functions, errors, failed = {}, {}, {}
        for contender in case.contenders:
            try:
                with torch.inference_mode():
                    out = contender.run().double()
                errors[contender.name] = ((out - exact).norm() / exact.norm().clamp_min(1e-30)).item()
                functions[contender.name] = contender.run
            except (RuntimeError, NotImplementedError) as problem:  # such as an op that this torch has not
                failed[contender.name] = str(problem).splitlines()[0]
        with torch.inference_mode():
            graphs = as_graphs(functions)
            taken = times(functions, timing, Clock(), graphs)
            energy = joules(functions, timing, graphs) if case.energy else {}
        del graphs
        for contender in case.contenders:
            row = {"stem": case.stem, "case": case.name, "contender": contender.name, "ours": contender.ours}
            if contender.name in failed:
                yield {**row, "failed": failed[contender.name]}
                continue
            row |= {**taken[contender.name], "energy_j": energy.get(contender.name)}
            error = errors[contender.name]
            yield {**row, "error": error, "wrong": contender.ours and not error <= case.tolerance}
        print(f"{case.stem}: {case.name}")


if __name__ == "__main__":
    sys.exit(main())
