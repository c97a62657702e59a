"""The CUDA kernels as functions on numpy arrays: one module a stem, found by its file name."""
