"""``python -m greenkernels.report``: the results in the README and docs from bench/results; ``--html`` a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..measure import checkout, kernel_facts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m greenkernels.report", description=__doc__.partition(":")[2]
    )
    parser.add_argument(
        "--rows", type=Path, help="folder or file of rows; default: bench/results of this checkout"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page of all rows instead of the README"
    )
    parser.add_argument(
        "--figures", type=Path, metavar="FOLDER", help="with --html: each plot as SVG and PNG too"
    )
    options = parser.parse_args(arguments)
    root = checkout()
    if root is None and (options.html is None or options.rows is None):
        where = "the README and its rows are in a source checkout, and this is an installed package"
        print(f"report: {where}; --rows FOLDER --html FILE makes a page anywhere", file=sys.stderr)
        return 1
    rows = options.rows or root / "bench" / "results"
    try:
        written = _write(options, rows, root)
    except (ImportError, ValueError) as problem:
        print(f"report: {problem}", file=sys.stderr)
        return 1
    for path in written:
        print(f"wrote {path}")
    if not written:
        print("README.md: results are up to date")
    return 0


def _write(options: argparse.Namespace, rows: Path, root: Path | None) -> list[Path]:
    if options.html is None:
        from . import home
        from .readme import write

        return write(root, rows) + home.write(root, rows)
    from .bench_page import bench_page
    from .cases import load_runs

    return bench_page(load_runs(rows), options.html, root and kernel_facts(root), options.figures)


if __name__ == "__main__":
    sys.exit(main())
