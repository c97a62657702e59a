"""Plots in as few bytes as a page can hold them in: the same picture, without what only matplotlib needs."""

from __future__ import annotations

import re
from itertools import count
from urllib.parse import quote

from .plots.canvas import DARK

FONTS = "DejaVu Sans,Verdana,Helvetica,Arial,sans-serif"
SAFE = "/:;,=()'!*@$&+?[]{}|^ ~`.-_"  # what stands in the address of data as it is; the rest in hexadecimal
COLOUR = re.compile(r"(fill|stroke): ?(#[0-9a-f]{6})")


def compact(svg: str) -> str:
    """An SVG with coordinates to a hundredth of a point, one name of fonts, and each style and name said once."""
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    svg = re.sub(r"<style>@media.*?</style>", "", svg, count=1)  # said again below, of fewer rules
    svg = re.sub(r"<[^>]*>", lambda tag: _compact_tag(tag[0]), svg)
    before = ""
    while before != svg:  # groups that say nothing, from the inside out
        before, svg = svg, re.sub(r"<g>((?:(?!</?g[ >]).)*)</g>", r"\1", svg)
    svg = _with_short_names(svg)
    styles = {style: f"c{i}" for i, style in enumerate(dict.fromkeys(re.findall(r' style="([^"]*)"', svg)))}
    svg = re.sub(r' style="([^"]*)"', lambda found: f' class="{styles[found[1]]}"', svg)
    return re.sub(r"(<svg[^>]*>)", rf"\1<style>{_rules(styles)}</style>", svg, count=1).replace(
        "<svg ", f'<svg font-family="{FONTS}" ', 1
    )


def _rules(styles: dict[str, str]) -> str:
    """Of all styles, and of what their colours become where the screen is dark."""
    light = "".join(
        f".{name}{{{style.replace('; ', ';').replace(': ', ':')}}}" for style, name in styles.items()
    )
    dark = ""
    for style, name in styles.items():
        found = [f"{kind}:{DARK[colour]}" for kind, colour in COLOUR.findall(style) if colour in DARK]
        dark += f".{name}{{{';'.join(found)}}}" if found else ""
    return f"{light}@media screen and (prefers-color-scheme:dark){{{dark}}}"


def _with_short_names(svg: str) -> str:
    """Names that something refers to, in a letter and a number; those of the title and of the words stay."""
    numbers = count()
    for name in dict.fromkeys(re.findall(r' id="([mpC][0-9a-z_A-Z]{6,})"', svg)):
        svg = re.sub(rf"(id=\"|#){name}\b", rf"\g<1>i{next(numbers)}", svg)
    return svg


def _compact_tag(tag: str) -> str:
    tag = re.sub(r"font-family: [^;\"]*; ?", "", tag)
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    tag = re.sub(r'<g id="[^"]*"', "<g", tag)
    tag = re.sub(r' d="[^"]*"', lambda path: re.sub(" ?([MLCQz]) ?", r"\1", path[0]), tag)
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), tag)


def as_address(svg: str) -> str:
    """What an image can have as its source, in an attribute in double quotes: shorter than in base64."""
    single = re.sub(r"<[^>]*>", lambda tag: tag[0].replace('"', "'") if "'" not in tag[0] else tag[0], svg)
    return "data:image/svg+xml," + quote(single, safe=SAFE).replace("&", "&amp;")
