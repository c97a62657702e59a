"""What the tests of wrong arguments share: one message from compiled kernel, fake tensors and plain torch."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor


def message_of(function: Any, args: Sequence[Any], **kwargs: Any) -> str:
    with pytest.raises(RuntimeError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def on_meta(args: Sequence[Any]) -> list[Any]:
    return [arg.to("meta") if isinstance(arg, Tensor) else arg for arg in args]


def assert_message(expected: str, op: Any, plain: Any, args: Sequence[Any]) -> None:
    """From the op on real and fake tensors, and from its way without compiled kernels."""
    assert message_of(op, args) == expected
    assert message_of(op, on_meta(args)) == expected
    assert message_of(plain, args) == expected


def assert_message_for_out(expected: str, op_out: Any, args: Sequence[Any], out: Tensor) -> None:
    """From the op that is given its output, on real and fake tensors."""
    assert message_of(op_out, args, out=out) == expected
    meta = torch.empty_strided(out.shape, out.stride(), dtype=out.dtype, device="meta")
    assert message_of(op_out, on_meta(args), out=meta) == expected
