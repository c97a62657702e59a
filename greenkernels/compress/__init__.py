"""Smaller networks: functions that take and return ordinary modules and work with any training loop.

``prune`` masks weights, ``Pruner`` does so along a schedule while training, ``sparsity`` counts zeros, ``to_sparse``
makes layers of the nonzeros alone, ``shrink`` takes pruned channels out of the network. ``factorize`` makes chains of
smaller layers of large ones. ``Distiller`` and ``distill`` teach a small network what a large one knows, ``transfer``
copies what fits. ``sensitivity`` tells what each layer alone can bear, ``search``
picks a method for each by it.
"""

from .channels import shrink
from .conversion import to_sparse
from .distillation import Distiller, attention_loss, hint_loss, logit_loss
from .factorization import FactoredLayer, Factorization, factorization, factorize
from .factors import Factored, factor
from .layers import apply_masks
from .pruning import Pruner, prune
from .schedules import Constant, Cubic, OneShot, Polynomial
from .search import chosen_methods, search
from .sensitivity import Sensitivity, sensitivity
from .sparsity import LayerSparsity, Sparsity, sparsity
from .training import distill
from .transfer import Transfer, transfer

__all__ = [
    "Constant",
    "Cubic",
    "Distiller",
    "Factored",
    "FactoredLayer",
    "Factorization",
    "LayerSparsity",
    "OneShot",
    "Polynomial",
    "Pruner",
    "Sensitivity",
    "Sparsity",
    "Transfer",
    "apply_masks",
    "attention_loss",
    "chosen_methods",
    "distill",
    "factor",
    "factorization",
    "factorize",
    "hint_loss",
    "logit_loss",
    "prune",
    "search",
    "sensitivity",
    "shrink",
    "sparsity",
    "to_sparse",
    "transfer",
]
