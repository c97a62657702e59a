"""Served: deepsparse's engine on one layer."""

import os
import sys
import tempfile

os.environ["NM_DISABLE_ANALYTICS"] = "1"  # before the import, or it reports home

import deepsparse
import numpy as np


def load(spec, arrays, threads):
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import onnx_graph

    x = np.asarray(arrays["input0"])
    layer = [np.asarray(arrays[name]) if name in arrays else None for name in ("weight", "bias")]
    if spec["kind"] == "conv":
        model = onnx_graph.conv_model(spec["conv"], *layer, list(x.shape))
    else:
        model = onnx_graph.linear_model(*layer, list(x.shape))
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model)
        file.flush()
        engine = deepsparse.Engine(file.name, batch_size=x.shape[0], num_cores=threads)
    if engine.num_cores != threads:
        raise ValueError(f"runs on {engine.num_cores} cores where {threads} are asked for")
    return f"deepsparse {deepsparse.__version__}", lambda: engine.run([x], val_inp=False)[0]
