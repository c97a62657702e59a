"""XNNPACK through ai-edge-litert: maps in NHWC, weights packed when the model is loaded."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from ...contender import Contender
from .. import CannotRun, ConvTask, Int8ConvTask, Int8LinearTask, LinearTask, Rival, installed
from ..task import Int8Task
from ..tflite_model import tflite_model
from .torch_eager import contiguous, in_format

NAME = "XNNPACK (LiteRT)"
GET = "pip install ai-edge-litert"


def interpreter_of(model: bytes) -> Any:
    """An interpreter for the number of threads that torch is set to, with every operator on XNNPACK.

    Raises:
        CannotRun: an operator stayed with TFLite's own kernels.
    """
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(model_content=model, num_threads=torch.get_num_threads())
    made.allocate_tensors()
    first, last = made.get_input_details()[0]["index"], made.get_output_details()[0]["index"]
    # Operators that XNNPACK took stay listed, and one named DELEGATE joins them; here it must span the whole chain.
    taken = [op for op in made._get_ops_details() if op["op_name"] == "DELEGATE"]
    if len(taken) != 1 or first not in taken[0]["inputs"] or last not in taken[0]["outputs"]:
        raise CannotRun("XNNPACK does not take all of it")
    return made


def infer(interpreter: Any, first: int, last: int, x: torch.Tensor) -> torch.Tensor:
    """One call. The interpreter has memory of its own for maps: in and out are copied."""
    interpreter.set_tensor(first, x.numpy())
    interpreter.invoke()
    return torch.from_numpy(interpreter.get_tensor(last))


def build(task: ConvTask | LinearTask | Int8Task) -> Contender:
    made = interpreter_of(tflite_model(task))
    call = partial(infer, made, made.get_input_details()[0]["index"], made.get_output_details()[0]["index"])
    flags = f"TFLite interpreter, all of it on XNNPACK, {torch.get_num_threads()} threads"
    version = installed("ai-edge-litert", GET)
    if isinstance(task, LinearTask | Int8LinearTask):
        return Contender(NAME, call, contiguous, version=version, flags=flags)
    # NHWC contiguous is what channels_last is in memory; both permutations are views.
    return Contender(
        NAME,
        lambda x: call(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        partial(in_format, torch.channels_last),
        version=version,
        flags=f"{flags}, NHWC in and out",
    )


RIVALS = (
    Rival(
        name=NAME,
        about="TFLite interpreter with every operator on XNNPACK; maps in and out in NHWC, copied in and out",
        tasks=(ConvTask, LinearTask, Int8LinearTask, Int8ConvTask),
        version=lambda: installed("ai-edge-litert", GET),
        build=build,
        get=GET,
    ),
)
