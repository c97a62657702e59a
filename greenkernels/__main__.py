"""``python -m greenkernels``: the same as the command ``greenkernels``."""

from .cli import main

main()
