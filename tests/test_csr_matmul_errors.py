"""What csr_matmul refuses, in the same words from the kernel, from fake tensors and from plain torch."""

import pytest
import torch
from csr_cases import make
from torch._subclasses.fake_tensor import FakeTensorMode

from greenkernels.ops import csr_matmul_op as op

CROW, COL, VALUES, X, BIAS, _ = make(4, 6, 9, 0.4)
NNZ = VALUES.numel()
PACKED = op.pack(CROW, COL, VALUES, 9, 64)

# op, arguments, message
WRONG = [
    (op.matmul, (CROW, COL, VALUES, torch.tensor(1.0), None), "x must have a dimension or more, got shape"),
    (op.matmul, (CROW, COL, VALUES, X.long(), None), "x must be float16, bfloat16, .*, got int64"),
    (op.matmul, (CROW, COL, VALUES.double(), X, None), "values must be float32 as x is, got float64"),
    (op.matmul, (CROW, COL, VALUES[None], X, None), "values must be 1-D, got shape"),
    (op.matmul, (CROW[None], COL, VALUES, X, None), "crow_indices must be 1-D, got shape"),
    (op.matmul, (CROW.float(), COL, VALUES, X, None), "crow_indices must be int64 or int32, got float32"),
    (op.matmul, (CROW, COL.short(), VALUES, X, None), "col_indices must be int64 or int32, got int16"),
    (
        op.matmul,
        (CROW[:0], COL, VALUES, X, None),
        r"crow_indices must have out_features \+ 1 elements, got 0",
    ),
    (op.matmul, (CROW, COL[:-1], VALUES, X, None), f"col_indices must have {NNZ} elements, got {NNZ - 1}"),
    (op.matmul, (CROW, COL, VALUES, X, BIAS[:-1]), "bias must have 6 elements, got 5"),
    (op.matmul, (CROW, COL, VALUES, X, BIAS.double()), "bias must be float32 as x is, got float64"),
    (op.pack, (CROW, COL, VALUES[None], 9, 1), "values must be 1-D, got shape"),
    (op.pack, (CROW, COL, VALUES.long(), 9, 1), "values must be float16, .*, got int64"),
    (op.pack, (CROW, COL, VALUES, -1, 1), r"in_features must be in \[0, 2\^31\), got -1"),
    (op.packed_matmul, (X, PACKED[:-1], None, 6, NNZ, 64), "packed must have .* elements for .* nonzeros of"),
    (
        op.packed_matmul,
        (X, PACKED.int(), None, 6, NNZ, 64),
        "packed must be uint8 as csr_matmul_pack's result",
    ),
    (op.packed_matmul, (X.double(), PACKED, None, 6, NNZ, 64), "packed must have .* elements"),
    (op.packed_matmul, (X, PACKED, None, -1, NNZ, 64), r"out_features must be in \[0, 2\^31\), got -1"),
    (op.packed_matmul, (X, PACKED, None, 6, -1, 64), "nnz must be at least 0, got -1"),
    (op.packed_matmul, (X, PACKED, BIAS[:2], 6, NNZ, 64), "bias must have 6 elements, got 2"),
    (op.values_grad, (CROW, COL, X, X), r"grad must have shape \[4, 6\], got \[4, 9\]"),
    (op.values_grad, (CROW, COL, X[0], X), "grad must be 2-D, got shape"),
]
# These only a look at the indices tells, so fake tensors cannot.
WRONG_CONTENTS = [
    (CROW + 1, COL, f"crow_indices must ascend from 0 to {NNZ}, the number of values"),
    (CROW.flip(0), COL, "crow_indices must ascend"),
    (CROW, COL + 9, r"col_indices must be in \[0, 9\) and strictly ascend within a row"),
    (CROW, COL - 9, r"col_indices must be in \[0, 9\)"),
    (CROW, COL.flip(0), "col_indices must be .* strictly ascend within a row"),
]


@pytest.mark.parametrize(("call", "args", "message"), WRONG)
def test_refuses_in_the_same_words(call, args, message):
    name = call._schema.name.split("::")[1]
    with pytest.raises(RuntimeError, match=f"{name}: {message}") as kernel:
        call(*args)
    plain = {
        op.matmul: op.matmul_plain,
        op.pack: op.pack_plain,
        op.packed_matmul: op.packed_plain,
        op.values_grad: op.values_grad_plain,
    }[call]
    with pytest.raises(RuntimeError) as other:
        plain(*args)
    assert str(other.value) == str(kernel.value)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in args]
        with pytest.raises(RuntimeError) as fake:
            call(*fakes)
    assert str(fake.value) == str(kernel.value)


def test_refuses_a_weight_that_was_packed_for_another_shape():
    """Of the same size, so that only its header tells; a fake tensor has none."""
    for call in (op.packed_matmul, op.packed_plain):
        with pytest.raises(
            RuntimeError, match=r"csr_matmul_packed: .*nonzeros of \[6, 8\], got another weight"
        ):
            call(X[:, :8], PACKED, None, 6, NNZ, 64)


@pytest.mark.parametrize(("crow", "col", "message"), WRONG_CONTENTS)
def test_refuses_indices_that_are_no_csr_matrix(crow, col, message):
    for call, plain, args in (
        (op.pack, op.pack_plain, (VALUES, 9, 64)),
        (op.transpose, op.transpose_plain, (9,)),
    ):
        with pytest.raises(RuntimeError, match=message) as kernel:
            call(crow, col, *args)
        with pytest.raises(RuntimeError) as other:
            plain(crow, col, *args)
        assert str(other.value) == str(kernel.value)
    with pytest.raises(RuntimeError, match=message):
        op.matmul(crow, col, VALUES, X, None)
    with pytest.raises(RuntimeError, match=message):
        op.values_grad(crow, col, X[:, :6], X)
