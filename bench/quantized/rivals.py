"""Static int8 quantization by onnxruntime and torchao, on the same networks and calibration, as modules.

Each is in the rows where the Python that runs has it. torchao's is judged as it computes before it is compiled, with
integers in floats, so it gets no times.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from subjects import Subject
from torch import Tensor, nn

OPSET = 17


class NotForThisError(ValueError):
    """The way has nothing to do in this network, or refuses it; the message says why."""


class InOnnxruntime(nn.Module):
    """A session as a module; one thread."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        self.names = [given.name for given in self.session.get_inputs()]

    def forward(self, *inputs: Tensor) -> Tensor:
        given = {n: x.contiguous().numpy() for n, x in zip(self.names, inputs, strict=True)}
        found = [torch.from_numpy(x) for x in self.session.run(None, given)]
        return found[0] if len(found) == 1 else found


class Calibration:
    """What onnxruntime reads: inputs by name, call by call."""

    def __init__(self, names: list[str], calls: list[tuple[Any, ...]]) -> None:
        self.left: Iterator[dict[str, Any]] = iter(
            [{name: x.contiguous().numpy() for name, x in zip(names, call, strict=True)} for call in calls]
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self.left, None)


def by_onnxruntime(method: str, subject: Subject, path: Path) -> nn.Module:
    """QDQ, weights by channel, inputs by `method`; in the file `path`."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    names = [f"input{i}" for i in range(len(subject.inputs))]
    plain = tuple(x.contiguous() for x in subject.inputs)
    axes = {name: {at: f"size{at}" for at in subject.free} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        exported, prepared = Path(folder) / "float.onnx", Path(folder) / "prepared.onnx"
        torch.onnx.export(
            subject.network.to(memory_format=torch.contiguous_format),
            plain,
            str(exported),
            input_names=names,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        quant_pre_process(str(exported), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(path),
            Calibration(names, subject.calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
        )
    return InOnnxruntime(path)


def by_torchao(subject: Subject) -> nn.Module:
    """torch.export, torchao's quantizer for x86, calibrated statically."""
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    dynamic = {at: torch.export.Dim.AUTO for at in subject.free}
    shapes = tuple(dynamic for _ in subject.inputs)
    example = subject.calibration[0]
    graph = torch.export.export(subject.network, example, dynamic_shapes=shapes, strict=False).module()
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    try:
        prepared = prepare_pt2e(graph, quantizer)
    except ValueError as problem:
        raise NotForThisError(f"torchao refuses it: {problem}") from problem
    with torch.no_grad():
        for call in subject.calibration:
            prepared(*call)
    return Exported(move_exported_model_to_eval(convert_pt2e(prepared)))


class Exported(nn.Module):
    """A graph that torch.export made, which refuses to be put into eval mode again."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = [graph]

    def forward(self, *inputs: Tensor) -> Any:
        return self.graph[0](*inputs)


MADE_BY: dict[str, Callable[[Subject, Path], nn.Module]] = {
    "onnxruntime, 8 bit, MinMax": lambda subject, path: by_onnxruntime("MinMax", subject, path),
    "onnxruntime, 8 bit, Percentile": lambda subject, path: by_onnxruntime("Percentile", subject, path),
    "torchao, 8 bit": lambda subject, path: by_torchao(subject),
}
