"""``python -m greenkernels.report``: writes the README's results from the rows in bench/results."""

import argparse
import sys

from ..measure.machine import checkout
from .readme import results_text, write_between_markers


def main() -> int:
    argparse.ArgumentParser(
        prog="python -m greenkernels.report",
        description="Write the results in README.md from the rows in bench/results (greenkernels bench writes those).",
    ).parse_args()
    root = checkout()
    if root is None:
        print(
            "report: the README and its rows are in a source checkout, and this is an installed package",
            file=sys.stderr,
        )
        return 1
    changed = write_between_markers(root / "README.md", results_text(root / "bench" / "results", root))
    print("README.md: results written" if changed else "README.md: results are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
