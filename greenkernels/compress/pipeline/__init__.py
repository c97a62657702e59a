"""The pipeline of `greenkernels compress`: a recipe of steps, each kept on disk, from a network to a report."""

from .data import Data, DataError, Split
from .recipe import Recipe, RecipeError, Step, read_recipe
from .runner import run

__all__ = ["Data", "DataError", "Recipe", "RecipeError", "Split", "Step", "read_recipe", "run"]
