"""``python -m greenkernels.zoo ROWS.json ...``: does every network pass the bar? Exits with 1 where one does not."""

from __future__ import annotations

import sys
from pathlib import Path

from ..measure.rows import Run
from .bar import judge, table


def main(paths: list[str]) -> int:
    if not paths:
        print(
            "usage: python -m greenkernels.zoo ROWS.json ... (from `greenkernels bench networks`)",
            file=sys.stderr,
        )
        return 2
    verdicts = judge([row for path in paths for row in Run.load(Path(path)).rows])
    if not verdicts:
        print("zoo: no row says what role its network has", file=sys.stderr)
        return 2
    print(table(verdicts))
    return int(any(v.problems for v in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
