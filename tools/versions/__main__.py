"""One wheel in every Python and torch that it promises: a row for each pair in docs/versions.json.

Each pair gets a fresh environment, the wheel without its dependencies, and the checks of smoke.py; the environment and
its torch are removed after it. On a torch that is too old the doctor must say so. Exit status 1 if a pair failed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from greenkernels.measure.machine import cpu_facts

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "versions.json"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
NEWEST = "newest"  # that the installer finds for that Python
TORCHES = ("2.10.0", NEWEST)  # the oldest of the stable ABI in use, and whatever has come since
TOO_OLD = "2.9.1"
NEEDED = ("numpy", "typer>=0.15", "rich>=13", "safetensors", "tomli")
TAIL = 400  # letters of an error that a row keeps


def main() -> int:
    """Prints a row for each pair; returns the exit status."""
    parser = argparse.ArgumentParser(prog="versions", description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel to check; default: one that is built here")
    parser.add_argument("--pythons", nargs="+", default=PYTHONS, help="of pyenv, else as uv finds them")
    parser.add_argument("--torches", nargs="+", default=[TOO_OLD, *TORCHES])
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        # What torch needs is shared, and goes with the run.
        os.environ["UV_CACHE_DIR"] = str(Path(folder) / "cache")
        wheel = (chosen.wheel or build_wheel(Path(folder))).resolve()
        for torch in chosen.torches:
            for python in chosen.pythons if torch != TOO_OLD else chosen.pythons[:1]:
                rows.append(row_of(python, torch, wheel, Path(folder) / "environment"))
                print(line_of(rows[-1]), flush=True)
                write(rows, wheel.name)
    failed = [row for row in rows if not row["passed"]]
    print(f"{len(rows)} pairs, {len(failed)} failed")
    return 1 if failed or not rows else 0


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    return next(folder.glob("*.whl"))


def row_of(python: str, torch: str, wheel: Path, environment: Path) -> dict[str, Any]:
    """What the wheel did in one environment; what went wrong is a fact of the row and ends nothing."""
    row: dict[str, Any] = {"python": python, "torch": torch, "passed": False}
    try:
        run("uv", "venv", "--quiet", "--python", interpreter(python), str(environment))
        install(environment, "torch" if torch == NEWEST else f"torch=={torch}", *NEEDED)
        install(environment, "--no-deps", str(wheel))
        return row | (refusal(environment) if torch == TOO_OLD else smoke(environment))
    except subprocess.CalledProcessError as problem:
        return row | {"problem": (problem.stderr or problem.stdout)[-TAIL:]}
    finally:
        shutil.rmtree(environment, ignore_errors=True)
        run("uv", "cache", "clean", "--quiet", "torch")  # each pair has another file of it, a gigabyte


def interpreter(python: str) -> str:
    """That Python of pyenv, whose names on PATH run only the version that is switched on, else its number."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return str(next(root.glob(f"versions/{python}.*/bin/python"), python))


def install(environment: Path, *wanted: str) -> None:
    run("uv", "pip", "install", "--quiet", "--python", str(environment / "bin" / "python"), *wanted)


def smoke(environment: Path) -> dict[str, Any]:
    """What smoke.py printed."""
    told = run(str(environment / "bin" / "python"), str(Path(__file__).with_name("smoke.py")))
    return json.loads(told.splitlines()[-1]) | {"passed": True}


def refusal(environment: Path) -> dict[str, Any]:
    """What the doctor says of a torch that is too old, and that ops compute on plain torch."""
    code = (
        "import torch, greenkernels as gk\n"
        "x = torch.randn(1, 3, 8, 8)\n"
        "gk.ops.winograd_conv2d(x, torch.randn(4, 3, 3, 3))\n"
        "print(gk.info()['reason'])"
    )
    told = run(str(environment / "bin" / "python"), "-W", "ignore", "-c", code).splitlines()[-1]
    return {
        "passed": f"torch {TOO_OLD}" in told and "is older than" in told,
        "message": told.replace(str(environment), "...")[-TAIL:],
    }


def run(*command: str) -> str:
    """What the command printed. It sees neither this checkout nor settings of the kernels."""
    hidden = ("PYTHONPATH", "GREENKERNELS_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=tempfile.gettempdir(), env=environment
    )
    return done.stdout


def line_of(row: dict[str, Any]) -> str:
    rest = {name: value for name, value in row.items() if name not in ("python", "torch", "passed")}
    words = ", ".join(f"{name} {value}" for name, value in rest.items())
    return f"{'ok' if row['passed'] else 'FAIL':4} Python {row['python']:8} torch {row['torch']:12} {words}"


def write(rows: list[dict[str, Any]], wheel: str) -> None:
    """All or nothing."""
    about = {
        "wheel": wheel,
        "machine": f"{cpu_facts()['name']}, {platform.system()} {platform.machine()}, glibc {platform.libc_ver()[1]}",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }
    temporary = RESULTS.with_suffix(".part")
    temporary.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
    temporary.replace(RESULTS)


if __name__ == "__main__":
    sys.exit(main())
