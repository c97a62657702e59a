"""Served: torch's matrix products on an MKL that believes to be on an Intel CPU (a preloaded library tells it so)."""

import torch


def load(spec, arrays, threads):
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    tensors = {
        name: torch.frombuffer(memory, dtype=torch.float32).view(memory.shape)
        for name, memory in arrays.items()
    }
    x = tensors["input0"]
    version = f"torch {torch.__version__}, MKL {_mkl()}"
    if spec["kind"] == "matmul":
        return version, lambda: torch.mm(x, tensors["input1"]).numpy()
    weight, bias = tensors["weight"], tensors.get("bias")
    if not spec["packed"]:
        return version, lambda: torch.nn.functional.linear(x, weight, bias).numpy()
    rows = x.numel() // x.shape[-1]
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
    return version, lambda: torch.ops.mkl._mkl_linear(x, packed, weight, bias, rows).numpy()


def _mkl():
    lines = [line for line in torch.__config__.show().splitlines() if "Math Kernel Library Version" in line]
    return lines[0].split("Version")[1].split()[0] if lines else "of unknown version"
