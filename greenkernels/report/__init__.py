"""Rows into tables, pictures, a self-contained page, and the results in the README."""

from . import html, pictures, readme, tables

__all__ = ["html", "pictures", "readme", "tables"]
