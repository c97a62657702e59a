"""Smaller networks: functions that take and return ordinary modules and work with any training loop.

``prune`` masks weights, ``Pruner`` does so along a schedule while training, ``sparsity`` counts zeros, ``to_sparse``
makes layers of the nonzeros alone, ``shrink`` takes pruned channels out of the network. ``factorize`` makes chains of
smaller layers of large ones.
"""

from .channels import shrink
from .conversion import to_sparse
from .factorization import FactoredLayer, Factorization, factorization, factorize
from .factors import Factored, factor
from .layers import apply_masks
from .pruning import Pruner, prune
from .schedules import Constant, Cubic, OneShot, Polynomial
from .sparsity import LayerSparsity, Sparsity, sparsity

__all__ = [
    "Constant",
    "Cubic",
    "Factored",
    "FactoredLayer",
    "Factorization",
    "LayerSparsity",
    "OneShot",
    "Polynomial",
    "Pruner",
    "Sparsity",
    "apply_masks",
    "factor",
    "factorization",
    "factorize",
    "prune",
    "shrink",
    "sparsity",
    "to_sparse",
]
