"""The figures of the docs' home page: narrow enough for a phone, and side by side where there is room.

Drawn from committed rows, but for the split of energy, which the model alone makes: the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..measure import kernel_facts
from . import plots
from .bench_plots import break_even_layers
from .cases import Case, by_machine, cases_of, load_runs, require_measured, speedup_of, thread_words
from .files import write_whole

WIDTH = 5.0  # inches: of a phone's screen, in letters that can be read there
MIN_RUNS = {"winograd_conv2d": 3, "csr_matmul": 1}  # suites with a figure, and runs that a case needs
OURS = "greenkernels "  # before the name of a contender
LAYERS = ((64, 56), (256, 28), (512, 7))  # channels and height of maps in ResNets and VGG
TILES = (2, 4, 6)


def figures(root: Path, folder: Path) -> list[plots.Plot]:
    """Every figure that there are rows for.

    Raises:
        MixedKindsError: a time is not measured.
        ImportError: there is no matplotlib.
    """
    runs = load_runs(folder)
    drawn = [energy_split()]
    for machine_runs in by_machine(runs).values():
        facts = kernel_facts(root)
        by_suite = {
            suite: [case for case in cases_of(machine_runs, facts, least) if case.key.suite == suite]
            for suite, least in MIN_RUNS.items()
        }
        for cases in by_suite.values():
            require_measured(cases)
        drawn += _speed_ups(by_suite["winograd_conv2d"]) + _errors(by_suite["winograd_conv2d"])
        drawn += _break_even(by_suite["csr_matmul"])
    return drawn


def _speed_ups(cases: Sequence[Case]) -> list[plots.Plot]:
    """One figure a thread number, warm; who loses stands among the others."""
    drawn = []
    for threads in sorted({case.key.threads for case in cases}):
        rows = [
            replace(speedup_of(case), word=f"{case.word}, stale" if case.stale else case.word)
            for case in cases
            if (case.key.threads, case.key.cache) == (threads, "warm") and case.ratio() is not None
        ]
        if rows:
            words = thread_words(threads)
            title = f"3x3 convolutions, best rival / ours, {words}"
            drawn.append(plots.speed_ups({"warm": rows}, f"home-speed-ups-{threads}", title, WIDTH))
    return drawn


def _errors(cases: Sequence[Case]) -> list[plots.Plot]:
    """Each tile in its best memory format, on one thread, against the best rival; torch beside them."""
    points = []
    for case in cases:
        if (case.key.threads, case.key.cache) != (1, "warm"):
            continue
        best: dict[str, plots.ErrorPoint] = {}
        for standing in case.ranked():  # fastest first
            ratio, group = case.ratio(standing), _group(standing.contender)
            if group and ratio is not None and standing.error:
                best.setdefault(group, plots.ErrorPoint(group, ratio.value, standing.error))
        points += best.values()
    points.sort(key=lambda point: point.group)
    title = "Winograd: error against speed"
    return [plots.error_against_speed(points, None, "home-errors", title, WIDTH)] if points else []


def _group(contender: str) -> str:
    """``tile=4`` of ours in either format, ``torch``; "" for the rest."""
    if contender.startswith(f"{OURS}tile="):
        return contender.split()[1]
    return "torch" if contender.startswith("torch ") and "compiled" not in contender else ""


def _break_even(cases: Sequence[Case]) -> list[plots.Plot]:
    warm = [case for case in cases if (case.key.threads, case.key.cache) == (1, "warm")]
    layers = break_even_layers(warm)
    names = sorted(layers, key=lambda layer: -len(layers[layer]))[:1]  # the one with most batch sizes
    title = "Sparse against dense products"
    return [plots.break_even({n: layers[n] for n in names}, "home-break-even", title) for n in names]


def energy_split() -> plots.Plot:
    """Modelled joules of a layer as torch computes it, and by Winograd's tiles; static power left out."""
    import torch

    from ..energy import count
    from ..energy.hardware_table import DEFAULT
    from ..energy.model import split_joules
    from ..nn import WinogradConv2d

    bars = []
    for channels, height in LAYERS:
        stock = torch.nn.Conv2d(channels, channels, 3, padding=1)
        ours = {f"tile {tile}": WinogradConv2d.from_module(stock, tile=tile) for tile in TILES}
        for name, layer in {"direct": stock, **ours}.items():
            counts = count(layer, (1, channels, height, height)).counts
            parts = split_joules(counts, hardware=DEFAULT)
            label = f"{channels}@{height}x{height} {name}"
            bars.append(plots.EnergyBar(label, parts.compute, parts.memory, parts.communication))
    return plots.energy_bars(bars, "home-energy", "Energy of a 3x3 convolution, modelled", WIDTH)


def write(root: Path, folder: Path) -> list[Path]:
    """Bring the figures in ``docs/figures`` up to date; gives the files that changed."""
    changed = []
    for plot in figures(root, folder):
        path, data = root / "docs" / "figures" / f"{plot.name}.svg", plot.svg.encode()
        if not path.is_file() or path.read_bytes() != data:
            changed.append(write_whole(path, data))
    return changed
