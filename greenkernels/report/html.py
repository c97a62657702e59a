"""One self-contained HTML page: tables, text, plots and pictures, nothing fetched from anywhere; it also prints."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .compact import as_address, compact
from .files import write_whole

if TYPE_CHECKING:
    from .plots import Plot

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; }
.lead { font-size: 1.15rem; font-weight: 600; }
.warning { border-left: .3rem solid #d55e00; padding: .25rem .75rem; }
ul.warning { padding-left: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; }
caption { text-align: left; font-style: italic; padding-bottom: .25rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #8884; text-align: left; vertical-align: top; }
NUMBERS { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.loses td:first-child { box-shadow: inset .25rem 0 #d55e00; }
tr.kept { opacity: .75; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
nav { columns: 14rem; margin: 1rem 0; }
nav a { display: block; padding: .15rem 0; }
summary { cursor: pointer; padding: .25rem 0; }
@media screen and (max-width: 50rem) {
  figure { overflow-x: auto; }
  figure img { max-width: none; }
  td { min-width: 5rem; }
  td:last-child { min-width: 11rem; }
}
pre { overflow-x: auto; font-size: 13px; }
:root { color-scheme: light dark; }
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  :root { color-scheme: light; font-size: 10px; }
  body { margin: 0; max-width: none; font-size: 1rem; }
  h2, h3 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  tr.kept { opacity: 1; }
}
"""

# Columns of numbers: those that a table has in its classes, counted from 1.
MOST_COLUMNS = 24
STYLE = STYLE.replace(
    "NUMBERS", ", ".join(f".r{i} :is(td, th):nth-child({i})" for i in range(1, MOST_COLUMNS + 1))
)


@dataclass
class Page:
    """A page that grows by parts; `save` writes it. Every word given is escaped."""

    title: str
    parts: list[str] = field(default_factory=list)

    def text(self, text: str, style: str = "") -> Page:
        """A paragraph; `style` is "", "lead" or "warning"."""
        self.parts.append(f"<p{_class(style)}>{escape(text)}</p>")
        return self

    def points(self, points: Sequence[str], style: str = "") -> Page:
        """A list of points; nothing where there is none."""
        if points:
            items = "".join(f"<li>{escape(point)}</li>" for point in points)
            self.parts.append(f"<ul{_class(style)}>{items}</ul>")
        return self

    def heading(self, text: str, level: int = 2, anchor: str = "") -> Page:
        """A heading; with an anchor `contents` can lead to it."""
        name = f' id="{anchor}"' if anchor else ""
        self.parts.append(f"<h{level}{name}>{escape(text)}</h{level}>")
        return self

    def contents(self, entries: Mapping[str, str]) -> Page:
        """Links to headings: anchor -> words."""
        links = "".join(f'<a href="#{anchor}">{escape(words)}</a>' for anchor, words in entries.items())
        self.parts.append(f"<nav>{links}</nav>")
        return self

    def folded(self, words: str) -> Page:
        """The part that was added last opens on a click on these words."""
        self.parts[-1] = f"<details><summary>{escape(words)}</summary>{self.parts[-1]}</details>"
        return self

    def preformatted(self, text: str) -> Page:
        self.parts.append(f"<pre>{escape(text)}</pre>")
        return self

    def table(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[str]],
        right: Sequence[int] = (),
        caption: str = "",
        styles: Sequence[str] = (),
    ) -> Page:
        """A table; columns in `right` are flushed to the right; `styles` has "", "loses" or "kept" for each row."""

        def line(tag: str, attributes: str, row: Sequence[str]) -> str:
            return "".join(f"<{tag}{attributes}>{escape(cell)}</{tag}>" for cell in row)

        head = line("th", ' scope="col"', headers)
        kinds = styles or [""] * len(rows)
        body = "".join(
            f"<tr{_class(kind)}>{line('td', '', row)}</tr>\n" for kind, row in zip(kinds, rows, strict=True)
        )
        above = f"<caption>{escape(caption)}</caption>" if caption else ""
        numbers = _class(" ".join(f"r{i + 1}" for i in right))  # said once, and not in thousands of cells
        table = f"<table{numbers}>{above}<thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
        self.parts.append(f'<div class="scroll">{table}</div>')
        return self

    def picture(self, png: bytes, alternative: str, caption: str = "") -> Page:
        source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        return self._image(source, alternative, caption)

    def plot(self, plot: Plot) -> Page:
        """The plot as SVG: sharp at any size, dark where the screen is."""
        return self._image(as_address(compact(plot.svg)), f"{plot.title}: {plot.alt}", "")

    def _image(self, source: str, alternative: str, caption: str) -> Page:
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self.parts.append(f'<figure><img alt="{escape(alternative)}" src="{source}">{below}</figure>')
        return self

    def render(self) -> str:
        """The whole document."""
        body = "\n".join(self.parts)
        return (
            f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(self.title)}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(self.title)}</h1>\n{body}\n</body></html>\n"
        )

    def save(self, path: Path) -> Path:
        return write_whole(path, self.render().encode())


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
