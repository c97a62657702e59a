"""One self-contained HTML page: tables, text and pictures, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #8884; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; }
pre { overflow-x: auto; font-size: 13px; }
:root { color-scheme: light dark; }
"""


@dataclass
class Page:
    """A page that grows by parts; `save` writes it."""

    title: str
    parts: list[str] = field(default_factory=list)

    def text(self, text: str) -> Page:
        self.parts.append(f"<p>{escape(text)}</p>")
        return self

    def heading(self, text: str) -> Page:
        self.parts.append(f"<h2>{escape(text)}</h2>")
        return self

    def preformatted(self, text: str) -> Page:
        self.parts.append(f"<pre>{escape(text)}</pre>")
        return self

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Page:
        head = "".join(f"<th>{escape(h)}</th>" for h in headers)
        body = ""
        for row in rows:
            cells = (f"<td{' class=number' * (i in right)}>{escape(c)}</td>" for i, c in enumerate(row))
            body += f"<tr>{''.join(cells)}</tr>\n"
        self.parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>")
        return self

    def picture(self, png: bytes, alternative: str) -> Page:
        data = base64.b64encode(png).decode()
        self.parts.append(f'<img alt="{escape(alternative)}" src="data:image/png;base64,{data}">')
        return self

    def save(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        body = "\n".join(self.parts)
        path.write_text(
            f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(self.title)}</title>'
            f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(self.title)}</h1>\n{body}\n</body></html>\n",
            encoding="utf-8",
        )
        return path
