"""Copies of contenders for cold runs: nothing is shared, and what cannot be copied is not called cold."""

from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import nn

from greenkernels.measure import Contender
from greenkernels.measure.copies import CannotCopy, copied, nbytes, tensors_held, with_copies
from greenkernels.measure.slots import weight_bytes

WEIGHT = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
X = torch.ones(3, 7)


class Pair(NamedTuple):
    weight: torch.Tensor
    size: int


def nested(weight):
    pair = Pair(weight, 5)

    def call(x, *, scale=2):
        return scale * torch.mm(x, pair.weight.T)[:, : pair.size]

    return call


def product(weight, x, *, bias=None):
    return nn.functional.linear(x, weight, bias)


def module():
    layer = nn.Linear(7, 5)
    layer.register_buffer("packed", torch.zeros(11))
    return layer.eval()


CALLS = {
    "module": (module, 4 * (35 + 5 + 11)),
    "method": (lambda: module().forward, 4 * (35 + 5 + 11)),
    "partial": (lambda: partial(product, WEIGHT, bias=torch.zeros(5)), 4 * (35 + 5)),
    "nested": (lambda: nested(WEIGHT), 4 * 35),
    "around": (lambda: nested_around(module()), 4 * (35 + 5 + 11)),
    "sparse": (lambda: partial(product_of_csr, WEIGHT.relu().to_sparse_csr()), None),
}


def nested_around(layer):
    return lambda x: layer(x)


def product_of_csr(weight, x):
    return torch.mm(weight, x.T).T


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("name", CALLS)
def test_copies_compute_the_same_on_memory_of_their_own(name):
    make, size = CALLS[name]
    call = make()
    twin = copied(call)
    with torch.inference_mode():
        assert torch.equal(twin(X), call(X))
    kept = {t.values().data_ptr() if t.is_sparse_csr else t.data_ptr() for t in tensors_held(call)}
    theirs = {t.values().data_ptr() if t.is_sparse_csr else t.data_ptr() for t in tensors_held(twin)}
    assert kept
    assert len(kept) == len(theirs)
    assert not kept & theirs
    expected = size or sum(p.nbytes for p in csr_parts(WEIGHT.relu().to_sparse_csr()))
    assert weight_bytes(Contender(name, call)) == expected


def csr_parts(weight):
    return weight.crow_indices(), weight.col_indices(), weight.values()


def test_what_is_shared_within_a_call_stays_shared_and_counts_once():
    call = partial(product, WEIGHT, bias=None)
    both = partial(lambda first, second, x: first(x) + second(x), call, call)
    assert sum(map(nbytes, tensors_held(both))) == WEIGHT.nbytes
    twin = copied(both)
    assert twin.args[0] is twin.args[1]


def test_functions_without_weights_are_their_own_copies():
    assert copied(torch.mm) is torch.mm
    assert copied(product) is product
    assert tensors_held(torch.mm) == []


class Engine:
    """Might hold weights in a way that nobody here knows."""

    def __call__(self, x):
        return x


def test_what_cannot_be_looked_into_is_not_copied():
    with pytest.raises(CannotCopy, match="cannot copy a Engine, which may hold weights"):
        copied(partial(product, Engine()))
    contender = Contender("engine", Engine())
    assert with_copies(contender) is contender
    assert weight_bytes(contender) == 0


def test_copies_of_its_own_are_kept():
    contender = Contender("a", module(), fresh=lambda: contender)
    assert with_copies(contender) is contender
    made = with_copies(Contender("b", module(), version="1"))
    assert made.fresh().version == "1"
    assert made.fresh().call is not made.fresh().call
