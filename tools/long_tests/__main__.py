"""The tests too long for CI, each step with its result in docs/long-tests.json, written as soon as it ends.

``make test-all`` runs all; ``--resume`` goes on with the steps that did not pass at this commit, ``--only`` names some.
Ctrl-C ends the step that runs and keeps what is known. Exit status 1 if a step failed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from steps import STEPS, Step

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "long-tests.json"


def main() -> int:
    """Runs the steps asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="long_tests", description=__doc__.splitlines()[0])
    names = [step.name for step in STEPS]
    parser.add_argument("--list", action="store_true", help="print the steps and run none")
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="STEP", help=", ".join(names)
    )
    parser.add_argument("--resume", action="store_true", help="leave out what passed at this commit")
    chosen = parser.parse_args()
    if chosen.list:
        print("\n".join(f"{step.name:16} {step.what}" for step in STEPS))
        return 0
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    commit = commit_of_checkout()
    failed = []
    for step in STEPS:
        before = results.get(step.name, {})
        if step.name not in chosen.only or (
            chosen.resume and before.get("commit") == commit and before["passed"]
        ):
            continue
        print(f"\n=== {step.name}: {step.what}", flush=True)
        results[step.name] = run(step, commit)
        write({step.name: results[step.name] for step in STEPS if step.name in results})
        if not results[step.name]["passed"]:
            failed.append(step.name)
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall passed", flush=True)
    return 1 if failed else 0


def run(step: Step, commit: str) -> dict[str, Any]:
    """The result of one step, whose output goes to the terminal."""
    environment = os.environ | {"PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    begin = time.perf_counter()
    status = subprocess.run(step.command, cwd=ROOT, env=environment, check=False).returncode
    return {
        "what": step.what,
        "passed": status == 0,
        "seconds": round(time.perf_counter() - begin),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def commit_of_checkout() -> str:
    """The commit that is checked out, with a + if files differ from it."""
    described = ("git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+")
    done = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def write(results: dict[str, Any]) -> None:
    """All or nothing, so that a run that is killed loses no result."""
    temporary = RESULTS.with_suffix(".part")
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    temporary.replace(RESULTS)


if __name__ == "__main__":
    sys.exit(main())
