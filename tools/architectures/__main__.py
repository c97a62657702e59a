"""Networks that nobody prepared: gk.optimize on architectures of torchvision, timm and transformers, random weights.

``make architectures`` runs it in an environment with them. Prints a row for each: what was replaced, how far outputs
differ, and with ``--measure`` the speed-up, else the reason for none. Exit status 1 if anything raised, differed beyond
the bound, lost state or did not come back from `restore`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from networks import NETWORKS, Network
from torch import nn

import greenkernels as gk
from greenkernels.measure.rotation import relative_error

MAX_ERROR = 1e-5


def main() -> int:
    """Prints a row for each network; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="default: those for CI; with --all every one")
    parser.add_argument("--all", action="store_true", help="the long run")
    parser.add_argument("--measure", action="store_true", help="plan by the clock, not by rules")
    parser.add_argument("--threads", type=int, default=0, help="torch's thread number; 0 leaves it as it is")
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore")
    wanted = [n for n in NETWORKS if (n.name in chosen.names if chosen.names else n.quick or chosen.all)]
    print(f"torch {torch.__version__}, greenkernels {gk.__version__}, {len(wanted)} networks", flush=True)
    rows = []
    for network in wanted:
        rows.append(row_of(network, chosen.measure))
        print(line_of(rows[-1]), flush=True)
    if chosen.out:
        chosen.out.write_text(json.dumps(rows, indent=1) + "\n")
    failed = [row["name"] for row in rows if row["problem"]]
    print(f"{len(rows)} networks, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed or not rows else 0


def row_of(network: Network, measure: bool) -> dict[str, Any]:
    """What became of one network; a problem is a fact of the row and ends nothing."""
    row: dict[str, Any] = {"name": network.name, "problem": "", "kernels": {}, "reason": "", "speedup": None}
    begin = time.perf_counter()
    try:
        torch.manual_seed(0)
        model, inputs = network.make()
        settle(model.eval())
        options = {"time_budget": 60.0} if measure else {"measure": False}
        made = gk.plan(model, inputs, max_error=MAX_ERROR, progress=False, cache=False, **options)
        row |= summary(made)
        row["problem"] = problem_of(model, inputs, made)
    except Exception as problem:  # one network must not hide the others
        row["problem"] = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
    row["seconds"] = round(time.perf_counter() - begin, 1)
    return row


def settle(model: nn.Module) -> None:
    """Statistics as after training: a new batch norm changes nothing, and folding it wrongly would go unseen."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)


def summary(made: gk.Plan) -> dict[str, Any]:
    facts = made.summary()
    kernels = Counter(layer.kernel.split(" ")[0] for layer in made.replaced)
    kept = Counter(layer.reason for layer in made.layers if layer.stem is None)
    common = f"; most often kept: {kept.most_common(1)[0][0]}" if kept else ""
    return {
        "layers": facts["layers"],
        "kernels": dict(kernels),
        "error": facts["error"],
        "speedup": facts["speedup"],
        "reason": facts["reason"] + common,
    }


def problem_of(model: nn.Module, inputs: Any, made: gk.Plan) -> str:
    """What is wrong with the converted network; "" if nothing."""
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    fast = made.apply(model)
    with torch.inference_mode():
        expected = model(*args, **kwargs)
        error = relative_error(fast(*args, **kwargs), expected)
        if not error <= MAX_ERROR:
            return f"outputs differ by {error:.1e}"
        back = gk.restore(fast)
        if relative_error(back(*args, **kwargs), expected) != 0.0:
            return "the restored network computes something else"
    if list(fast.state_dict()) != list(model.state_dict()):
        return "names in the state_dict changed"
    if [type(m) for m in back.modules()] != [type(m) for m in model.modules()]:
        return "restore gave other classes"
    return ""


def line_of(row: dict[str, Any]) -> str:
    if row["problem"]:
        return f"FAIL {row['name']:28} {row['problem']}"
    speed = "" if row["speedup"] is None else f"{row['speedup']:.2f}x "
    kernels = ", ".join(f"{count} {name}" for name, count in row["kernels"].items()) or "stock"
    error = 0.0 if row["error"] is None else row["error"]
    return f"ok   {row['name']:28} {speed}{error:.0e} {row['seconds']:5.1f} s  {kernels}; {row['reason']}"[
        :240
    ]


if __name__ == "__main__":
    sys.exit(main())
