"""Ways to store the weights of a network in few bits, ours: name -> function of a subject that makes the network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial

from rivals import NotForThisError
from subjects import Subject
from torch import nn

import greenkernels as gk
from greenkernels.nn import CodebookLinear, HalfLinear
from greenkernels.planning.candidates import named

STEMS = {"int8_gemm", "int8_conv2d"}
STOCK = "float32"


def quantized(bits: int, subject: Subject, **options: object) -> nn.Module:
    """All layers; options are looked for in what ranges are found on."""
    found = {"batches": subject.calibration, **options} if options else {}
    return gk.compress.quantize(subject.network, bits, **found)


def planned(kind: str, subject: Subject) -> nn.Module:
    """Every layer that is wide enough in 8 bits; what links layers, and Winograd's tiles, by rule."""
    options = {"precision": STEMS, "max_error": math.inf, "measure": False, "cache": False, "progress": False}
    plan = gk.plan(subject.network, subject.calibration[0], **options)
    linked = any("output_range" in layer.options for layer in plan.layers)
    if kind != "linked":
        for layer in plan.layers:
            layer.options = {}
    if kind == "tiled":
        for layer in plan.replaced:
            choices = named(layer.stem).options(subject.network.get_submodule(layer.names[0]))
            layer.options = next((choice for choice in choices if "tile" in choice), {})
    if kind == "linked" and not linked:
        raise NotForThisError("no 8-bit layers follow each other")
    if kind == "tiled" and not any(layer.options for layer in plan.layers):
        raise NotForThisError("no 3x3 convolutions for tiles")
    return plan.apply(subject.network)


def in_halves(storage: str, subject: Subject) -> nn.Module:
    """Linear layers alone."""
    copied, count = copy.deepcopy(subject.network), 0
    for name, module in list(copied.named_modules()):
        if type(module) is nn.Linear:
            parent, _, last = name.rpartition(".")
            setattr(copied.get_submodule(parent), last, HalfLinear.from_module(module, storage=storage))
            count += 1
    if not count:
        raise NotForThisError("no linear layers")
    return copied


def aware(bits: int, subject: Subject, learns_steps: bool = True) -> nn.Module:
    """Trained on with rounding."""
    if subject.tune is None:
        raise NotForThisError("nothing to train on")
    wrapped = gk.compress.QuantizationAware(subject.network, bits, learns_steps=learns_steps)
    subject.tune(wrapped)
    return wrapped.finished()


def shared(bits: int, subject: Subject, trains: bool = False, values: str = "k-means") -> nn.Module:
    """Codebooks of linear layers, and of filters; trained on or not."""
    if trains and subject.tune is None:
        raise NotForThisError("nothing to train on")
    made = gk.compress.share(subject.network, bits, values=values, group=64)
    if trains:
        subject.tune(made)
    return gk.compress.finish_shared(made)


WAYS: dict[str, Callable[[Subject], nn.Module]] = {
    STOCK: lambda subject: subject.network,
    "16 bit, bfloat16": partial(in_halves, "bfloat16"),
    "16 bit, float16": partial(in_halves, "float16"),
    "8 bit": partial(planned, "dynamic"),
    "8 bit, also between layers": partial(planned, "linked"),
    "8 bit, Winograd's tiles": partial(planned, "tiled"),
    "8 bit, second order": partial(quantized, 8, rounding="second-order"),
    "8 bit, inputs fixed by their largest": partial(quantized, 8, inputs="largest"),
    "8 bit, inputs fixed by percentiles": partial(quantized, 8, inputs="percentile"),
    "8 bit, inputs fixed by least squares": partial(quantized, 8, inputs="squares"),
    "8 bit, inputs fixed by entropy": partial(quantized, 8, inputs="entropy"),
    "4 bit": partial(quantized, 4),
    "4 bit, bias corrected": partial(quantized, 4, correct_bias=True),
    "4 bit, second order": partial(quantized, 4, rounding="second-order"),
    "4 bit, trained straight through": partial(aware, 4, learns_steps=False),
    "4 bit, trained": partial(aware, 4),
    "4-bit codebook": partial(shared, 4),
    "4-bit codebook, trained": partial(shared, 4, trains=True),
    "4-bit powers of two": partial(shared, 4, values="power-of-two"),
    "2-bit codebook": partial(shared, 2),
    "2-bit codebook, trained": partial(shared, 2, trains=True),
}


def weight_bytes(network: nn.Module) -> int:
    """Of all linear layers and convolutions, as their kernels read them."""
    total = 0
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            parts = [module.taps, module.tap_scale] if hasattr(module, "taps") else []
            if hasattr(module, "packed") and not parts:
                scaled = not isinstance(module, (CodebookLinear, HalfLinear)) and hasattr(
                    module, "weight_scale"
                )
                parts = [module.packed, module.weight_scale] if scaled else [module.packed]
            total += sum(part.nbytes for part in parts or [module.weight])
    return total
