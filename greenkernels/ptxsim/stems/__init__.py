"""Problems for ``simulate`` and the gate: one module a stem, found by its file name.

Each has ``SIZES``, in words, and ``problem(sizes)``; those of maps take their ``memory_format`` too.
"""
