"""Counts of this package's own kernels: one file a stem, for its module and for its operations."""
