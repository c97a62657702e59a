"""Smaller networks: functions that take and return ordinary modules and work with any training loop.

``prune`` masks weights, ``Pruner`` does so along a schedule while training, ``sparsity`` counts zeros, ``to_sparse``
makes layers of the nonzeros alone, ``shrink`` takes pruned channels out of the network. ``factorize`` makes chains of
smaller layers of large ones. ``quantize`` rounds weights to 8 or 4 bits, ``QuantizationAware`` trains a network that
feels it, ``share`` leaves each layer 16 or 4 different weights. ``Distiller`` and ``distill`` teach a small network
what a large one knows, ``transfer`` copies what fits. ``sensitivity`` tells what each layer alone can bear, ``search``
picks a method for each by it.
"""

from .channels import shrink
from .conversion import to_sparse
from .costs import measured_seconds, modelled_joules, weight_bytes
from .distillation import Distiller, attention_loss, hint_loss, logit_loss
from .factorization import FactoredLayer, Factorization, factorization, factorize
from .factors import Factored, factor
from .layers import apply_masks
from .pruning import Pruner, prune
from .quantization import (
    Grid,
    QuantizationAware,
    equalize,
    find_grid,
    finish_shared,
    quantize,
    round_second_order,
    share,
    smooth,
)
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
    "Grid",
    "LayerSparsity",
    "OneShot",
    "Polynomial",
    "Pruner",
    "QuantizationAware",
    "Sensitivity",
    "Sparsity",
    "Transfer",
    "apply_masks",
    "attention_loss",
    "chosen_methods",
    "distill",
    "equalize",
    "factor",
    "factorization",
    "factorize",
    "find_grid",
    "finish_shared",
    "hint_loss",
    "logit_loss",
    "measured_seconds",
    "modelled_joules",
    "prune",
    "quantize",
    "round_second_order",
    "search",
    "sensitivity",
    "share",
    "shrink",
    "smooth",
    "sparsity",
    "to_sparse",
    "transfer",
    "weight_bytes",
]
