"""When a module of ours runs torch's own operation in place of a kernel: why, how often, and not in silence."""

import logging

import torch
from torch import Tensor, nn

from ..ops import _library
from ..ops.conv2d_checks import FLOATS

HALVES = (torch.float16, torch.bfloat16)

_log = logging.getLogger("greenkernels")


def refuse_onnx() -> None:
    """Raises RuntimeError during an export to ONNX, which has none of our kernels; costs nothing in eager calls."""
    if torch.compiler.is_compiling() and torch.onnx.is_in_onnx_export():
        raise RuntimeError(
            "greenkernels: ONNX has none of these kernels; export greenkernels.restore(model), the stock network "
            "with the same weights"
        )


def converted_on_cuda(tensor: Tensor) -> bool:
    """Whether CUDA kernels would convert it to float32 and back, where torch's own layers have tensor cores for it."""
    return tensor.is_cuda and (tensor.dtype in HALVES or torch.is_autocast_enabled("cuda"))


def why_stock(stem: str, input: Tensor, weight: Tensor, weight_name: str = "weight") -> str | None:
    """Why no kernel of the stem can take these two, or None where one can.

    Raises:
        RuntimeError: an export to ONNX is under way.
    """
    refuse_onnx()
    if _library.DISABLED:
        return "GREENKERNELS_DISABLE=1"
    for name, tensor in (("input", input), (weight_name, weight)):
        if not tensor.is_cpu and not _library.compiled(stem, tensor):
            return f"{name}.device={tensor.device.type}"
        if tensor.dtype not in FLOATS:
            return f"{name}.dtype={tensor.dtype}"
        if tensor.layout is not torch.strided:
            return f"{name}.layout={tensor.layout}"
        if converted_on_cuda(tensor):
            half = tensor.dtype if tensor.dtype in HALVES else torch.get_autocast_dtype("cuda")
            return f"{name}.dtype={half} on CUDA"
    if torch.compiler.is_compiling():
        return None
    if type(input) not in (Tensor, nn.Parameter):
        return f"input.type={type(input).__name__}"
    return None if _library.compiled(stem, weight) else "no compiled kernel"


def count_fallback(module: nn.Module, reason: str, stock: str) -> None:
    """Counts a call that runs `stock` in ``module.fallbacks`` and logs the first for each reason.

    Raises:
        RuntimeError: if ``module.strict`` is set.
    """
    name = type(module).__name__
    if module.strict:
        raise RuntimeError(f"{name}: strict=True forbids the fallback to {stock}, needed for {reason}")
    if not torch.compiler.is_compiling():
        if reason not in module.fallbacks:
            _log.warning("%s(%s) runs %s: %s", name, module.extra_repr(), stock, reason)
        module.fallbacks[reason] = module.fallbacks.get(reason, 0) + 1
