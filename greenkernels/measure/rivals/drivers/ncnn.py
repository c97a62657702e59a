"""ncnn with each of its choices for a 3x3 convolution of stride 1. Its model files are written by hand: one layer."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from ...contender import Contender
from .. import CannotRun, ConvTask, LinearTask, Rival, installed
from ..task import check_padding, slope_of, weights_of
from .torch_eager import contiguous

GET = "pip install ncnn"

# name: (winograd at all, F(2,3), F(4,3), F(6,3))
WINOGRAD = {
    "ncnn": (True, True, True, True),
    "ncnn F(2,3)": (True, True, False, False),
    "ncnn F(4,3)": (True, False, True, False),
    "ncnn F(6,3)": (True, False, False, True),
    "ncnn without Winograd": (False, False, False, False),
}
# Activations that its convolution takes in: number of the type; its parameters stand in `activation_of`.
FUSED = {None: 0, "relu": 1, "leaky_relu": 2, "relu6": 3, "sigmoid": 4, "hardswish": 6}
LAYERS = {
    "silu": "Swish",
    "gelu": "GELU",
    "tanh": "TanH",
    "hardsigmoid": "HardSigmoid",
}  # layers of their own
LAYER_OPTIONS = {
    "GELU": "0=0",
    "HardSigmoid": f"0={1 / 6:.9g} 1=0.5",
}  # 0=0: the exact gelu, not that by tanh


@dataclass(frozen=True)
class Model:
    """An ncnn model: text of the graph, and the weights in its binary format."""

    param: str
    weights: bytes


def activation_of(task: ConvTask) -> str:
    """The keys of a layer that fuse the activation: 9 is its type, -23310 the array of its parameters."""
    values = {"leaky_relu": [slope_of(task).item()]} if task.activation == "leaky_relu" else {}
    values |= {"relu6": [0.0, 6.0], "hardswish": [1 / 6, 0.5]}
    kind = FUSED.get(task.activation, 0)
    parameters = values.get(task.activation)
    return f" 9={kind}" + (
        f" -23310={len(parameters)},{','.join(f'{v:.9e}' for v in parameters)}" if parameters else ""
    )


def layer_of(task: ConvTask | LinearTask) -> tuple[str, str]:
    """Type and keys of the layer. Keys of a convolution: 0 out_c, 1 and 11 kernel w and h, 2 and 12 dilation, 3 and 13
    stride, 4 and 14 padding, 5 bias, 6 elements of the weight, 7 groups."""
    module = task.module
    size, bias = module.weight.numel(), int(module.bias is not None)
    if isinstance(task, LinearTask):
        return "InnerProduct", f"0={module.out_features} 1={bias} 2={size}"
    check_padding(module)
    pairs = zip(
        ("1", "2", "3", "4"),
        (module.kernel_size, module.dilation, module.stride, module.padding),
        strict=True,
    )
    keys = " ".join(f"{key}={w} 1{key}={h}" for key, (h, w) in pairs)
    kind = "Convolution" if module.groups == 1 else "ConvolutionDepthWise"
    groups = f" 7={module.groups}" if module.groups > 1 else ""
    return kind, f"0={module.out_channels} {keys} 5={bias} 6={size}{groups}{activation_of(task)}"


def model_of(task: ConvTask | LinearTask) -> Model:
    """The model "in0" -> "out0" of one layer, and one for an activation that it cannot take in.

    Raises:
        CannotRun: an activation that ncnn is not driven with here.
    """
    kind, keys = layer_of(task)
    activation = task.activation if isinstance(task, ConvTask) else None
    after = LAYERS.get(activation)
    if activation not in FUSED and after is None:
        raise CannotRun(f"is not driven with {activation} here")
    lines = ["Input in0 0 1 in0", f"{kind} layer 1 1 in0 {'x' if after else 'out0'} {keys}"]
    if after:
        lines.append(f"{after} act 1 1 x out0 {LAYER_OPTIONS.get(after, '')}".strip())
    blobs = len(lines)
    weights = weights_of(task)
    # The magic number of its text format; a weight is preceded by a flag of 4 bytes: 0 is raw float32.
    packed = struct.pack("<i", 0) + weights["weight"].contiguous().numpy().tobytes()
    packed += weights["bias"].contiguous().numpy().tobytes() if "bias" in weights else b""
    return Model("\n".join(["7767517", f"{len(lines)} {blobs}", *lines]) + "\n", packed)


@cache
def allocators() -> tuple[Any, Any]:
    """Pools for maps and for work space, without which every call pays for fresh pages. Outputs live in the first, and
    may outlive the network that made them: so one for this process."""
    import ncnn

    return ncnn.PoolAllocator(), ncnn.PoolAllocator()


def load(model: Model, winograd: tuple[bool, bool, bool, bool]) -> Any:
    """A network of ncnn in float32 for the number of threads that torch is set to."""
    import ncnn

    net = ncnn.Net()
    option = net.opt
    option.num_threads = torch.get_num_threads()
    option.use_vulkan_compute = False
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(option, f"use_{name}", False)  # everyone computes in float32
    option.use_winograd_convolution, option.use_winograd23_convolution = winograd[:2]
    option.use_winograd43_convolution, option.use_winograd63_convolution = winograd[2:]
    option.blob_allocator, option.workspace_allocator = allocators()
    with tempfile.TemporaryDirectory() as folder:
        graph, weights = Path(folder) / "layer.param", Path(folder) / "layer.bin"
        graph.write_text(model.param)
        weights.write_bytes(model.weights)
        if net.load_param(str(graph)) != 0 or net.load_model(str(weights)) != 0:
            raise CannotRun("does not load the model that was written for it")
    return net


def infer(net: Any, x: torch.Tensor) -> torch.Tensor:
    """One call on one sample, where it lies in memory: ``[c, h, w]`` or ``[rows, features]``."""
    import ncnn
    import numpy

    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(x.numpy()))
    status, output = extractor.extract("out0")
    if status != 0:
        raise RuntimeError(f"ncnn: extract returned {status}")
    return torch.from_numpy(numpy.asarray(output))  # the array keeps the Mat


def call_of(net: Any, task: ConvTask | LinearTask) -> Any:
    """A call on the task's inputs; ncnn knows no batches, so its samples go one by one."""
    if isinstance(task, LinearTask):
        shape = (*task.inputs.shape[:-1], task.module.out_features)
        return lambda x: infer(net, x.reshape(-1, x.shape[-1])).reshape(shape)
    if task.inputs.shape[0] == 1:
        return lambda x: infer(net, x[0])[None]
    return lambda x: torch.stack([infer(net, sample) for sample in x])


def build(name: str, task: ConvTask | LinearTask) -> Contender:
    model = model_of(task)
    call = call_of(load(model, WINOGRAD[name]), task)
    if name != "ncnn":  # the same bits: the same kernel
        sample = task.inputs.contiguous()
        with torch.inference_mode():
            mine = call(sample)
            for other in WINOGRAD:
                if other == name:
                    break
                if torch.equal(mine, call_of(load(model, WINOGRAD[other]), task)(sample)):
                    raise CannotRun(f"takes the same kernel as {other!r} here: its output has the same bits")
    flags = f"row-major in and out, float32, pool allocators, {torch.get_num_threads()} threads"
    return Contender(
        name,
        call,
        contiguous,
        version=installed("ncnn", GET),
        flags=flags if name == "ncnn" else f"{flags}, {name.removeprefix('ncnn ')}",
    )


RIVALS = tuple(
    Rival(
        name=name,
        about=f"CPU, float32, maps in and out in NCHW, {'its own choice of kernel' if name == 'ncnn' else name[5:]}",
        tasks=(ConvTask, LinearTask) if name == "ncnn" else (ConvTask,),
        version=lambda: installed("ncnn", GET),
        build=partial(build, name),
        get=GET,
    )
    for name in WINOGRAD
)
