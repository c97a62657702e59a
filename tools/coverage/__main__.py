"""Line coverage of csrc/cpu by the C++ tests and of greenkernels by the Python suite, into docs/coverage.md.

``cpp`` and ``python`` run the tests and leave their counts in build/coverage, ``report`` writes the page from them;
without a name all three run. ``python --shard 2/4`` runs each fourth file of tests only, and adds to what is there.
Exit status 1 if tests fail, if fewer lines ran than promised, or if one that did not has no reason in reasons.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import lines
import page

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "coverage"
CPP, PYTHON = BUILD / "cpp.json", BUILD / "python.json"
DATA = BUILD / "python"  # of coverage.py, a file a process
SETTINGS = f"""[run]
source_pkgs = greenkernels
parallel = true
data_file = {DATA / "data"}
concurrency = thread, multiprocessing
sigterm = true
patch = subprocess, _exit
disable_warnings = no-data-collected, module-not-imported, module-not-measured
[paths]
source =
    {ROOT / "greenkernels"}
    */greenkernels
[report]
exclude_also =
    if TYPE_CHECKING:
"""


def main() -> int:
    """Runs what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="coverage", description=__doc__.splitlines()[0])
    names = ["cpp", "python", "report"]
    parser.add_argument("parts", nargs="*", choices=names, default=names)
    parser.add_argument(
        "--shard", default="1/1", help="k/n: of the Python tests, each n-th file from the k-th"
    )
    chosen = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    status = 0
    if "cpp" in chosen.parts:
        status |= count_cpp()
    if "python" in chosen.parts:
        shard, shards = map(int, chosen.shard.split("/"))
        status |= count_python(shard, shards)
    if "report" in chosen.parts:
        status |= page.write(ROOT, json_lines(CPP), json_lines(PYTHON))
    return status


def count_cpp() -> int:
    """Builds and runs the C++ tests, at every instruction set that this CPU has."""
    subprocess.run(("cmake", "--preset", "coverage"), cwd=ROOT, check=True)
    subprocess.run(("cmake", "--build", "--preset", "coverage"), cwd=ROOT, check=True)
    for old in BUILD.rglob("*.gcda"):
        old.unlink()
    jobs = str(os.cpu_count())
    status = subprocess.run(("ctest", "--preset", "coverage", "--parallel", jobs), cwd=ROOT).returncode
    CPP.write_text(json.dumps(lines.of_gcov(ROOT, BUILD, "csrc/cpu")))
    return int(status != 0)


def count_python(shard: int, shards: int) -> int:
    """Runs the Python tests, their child processes included."""
    DATA.mkdir(exist_ok=True)
    if shard == 1:
        for old in DATA.glob("data*"):
            old.unlink()
    settings = DATA / "settings"
    settings.write_text(SETTINGS)
    tests = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("test_*.py"))
    coverage = (sys.executable, "-m", "coverage")
    run = (*coverage, "run", f"--rcfile={settings}", "-m", "pytest", "-q", *tests[shard - 1 :: shards])
    status = subprocess.run(run, cwd=ROOT).returncode
    combine = (*coverage, "combine", "--append", "-q", f"--rcfile={settings}")  # to the shards before
    subprocess.run(combine, cwd=ROOT, check=True)
    report = DATA / "report.json"
    subprocess.run((*coverage, "json", "-q", f"--rcfile={settings}", "-o", report), cwd=ROOT, check=True)
    PYTHON.write_text(json.dumps(lines.of_coverage_py(ROOT, report)))
    return int(status != 0)


def json_lines(path: Path) -> lines.Lines:
    """What one of the two counts left; nothing where there was none."""
    if not path.exists():
        return {}
    return {
        name: {int(number): ran for number, ran in file.items()}
        for name, file in json.loads(path.read_text()).items()
    }


if __name__ == "__main__":
    sys.exit(main())
