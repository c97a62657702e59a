"""Counting rules of stock layers: one file a family, found by itself; ``@rule(...)`` registers."""
