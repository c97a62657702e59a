"""The weights in an ONNX file, by name; the network around them is written in torch by hand."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor


def onnx_weights(path: Path) -> dict[str, Tensor]:
    """Name -> constant tensor, in the order in which the graph uses them.

    Raises:
        ImportError: the package onnx is missing.
    """
    import onnx

    graph = onnx.load(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = [name for node in graph.node for name in node.input if name in constants]
    return {name: torch.from_numpy(onnx.numpy_helper.to_array(constants[name]).copy()) for name in used}
