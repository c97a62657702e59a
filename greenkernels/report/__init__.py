"""Rows and plans into tables, plots, pictures, self-contained pages, and the results in the README.

`network_page` is the page of one network, `bench_page` that of benchmark rows, `readme` what stands in the README.
"""

from . import html, pictures, readme, tables

__all__ = ["html", "pictures", "readme", "tables"]
