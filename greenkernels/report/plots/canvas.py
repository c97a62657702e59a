"""The drawing surface of all plots: colours, fonts, and the same bytes for the same data; matplotlib loads on use."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = "plots need matplotlib, which is missing: pip install 'greenkernels[demo]'"

# Paper and ink, then the series: Okabe and Ito's palette, which the colour-blind can tell apart. Shapes and words say
# the same once more.
PAPER, INK, MUTED, GRID, BAND = "#ffffff", "#1f2933", "#52606d", "#d5dbe1", "#e9edf1"
STOCK, KEPT = "#8a949e", "#c3cbd3"
OURS, LOSES, SECOND, THIRD = "#0072b2", "#d55e00", "#009e73", "#cc79a7"

# What each becomes where the reader's screen is dark. Only SVG can do that; a PNG keeps its white paper.
DARK = {
    PAPER: "#1b1f24",
    INK: "#e6e9ec",
    MUTED: "#a9b4be",
    GRID: "#3a424b",
    BAND: "#2a3037",
    STOCK: "#8f99a3",
    KEPT: "#525c66",
    OURS: "#4aa3df",
    LOSES: "#ff8a3d",
    SECOND: "#2fc79a",
    THIRD: "#e19cc2",
}

FONT_SIZE = 9  # points
LONGEST_TITLE = 52  # characters
SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": FONT_SIZE,
    "text.parse_math": False,  # a dollar in the name of a layer is a dollar
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.titlesize": FONT_SIZE + 1,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be searched, and is small
    "svg.hashsalt": "greenkernels",  # else ids differ from run to run
}


@dataclass(frozen=True)
class Plot:
    """A finished plot.

    Attributes:
        name: stem of its files.
        title: what stands above it.
        alt: what it shows, in words, for those who cannot see it.
        svg: a whole SVG document that refers to nothing outside of it.
        png: the same as pixels.
    """

    name: str
    title: str
    alt: str
    svg: str
    png: bytes

    def save(self, folder: Path) -> list[Path]:
        """Write ``NAME.svg`` and ``NAME.png``."""
        return [
            write_whole(folder / f"{self.name}.svg", self.svg.encode()),
            write_whole(folder / f"{self.name}.png", self.png),
        ]


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """A figure of that size in inches, with this page's colours while it is drawn and saved.

    No pyplot: no window, no backend to choose, no global list of figures that would have to be closed.

    Raises:
        ImportError: matplotlib is missing; the message says how to get it.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise ImportError(NEEDS) from missing
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield Figure((width, height), layout="constrained", dpi=120)


def put_title(figure: Figure, title: str) -> None:
    """On the left, so that a legend fits beside it."""
    figure.suptitle(shortened(title, LONGEST_TITLE), x=0.01, ha="left", size=FONT_SIZE + 2)


def finish(figure: Figure, name: str, title: str, alt: str) -> Plot:
    """Both forms of a figure; the same bytes whenever the figure is the same."""
    svg, png = io.StringIO(), io.BytesIO()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # places are settled, for both forms
    figure.savefig(svg, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    figure.savefig(png, format="png", metadata={"Software": None})
    return Plot(name, title, alt, _accessible(svg.getvalue(), title, alt), png.getvalue())


def _accessible(svg: str, title: str, alt: str) -> str:
    """The same SVG with a title and a description, dark where the screen is, without the address of a DTD."""
    head, body = re.fullmatch(r".*?(<svg[^>]*)>(.*)", svg, re.DOTALL).groups()
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark} !important}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    words = f'<title id="title">{escape(title)}</title><desc id="desc">{escape(alt)}</desc>'
    style = f"<style>@media screen and (prefers-color-scheme: dark) {{ {rules} }}</style>"
    body = re.sub(r"[ \t]+$", "", body, flags=re.MULTILINE)
    return f'{head} role="img" aria-labelledby="title desc">\n {words}\n {style}{body}'


def shortened(text: str, most: int) -> str:
    """`text` in at most that many characters; what is left out of its middle becomes ``…``."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def cut(text: str, most: int) -> str:
    """`text` in at most that many characters; what is left out of its end becomes ``…``."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
