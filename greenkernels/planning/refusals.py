"""Networks that cannot be planned for, each with what to do instead."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

# Wrappers whose forward copies or spreads the network inside: what would be timed is not what would run.
_WRAPPERS = {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"}


def require_plannable(model: Any, caller: str) -> None:
    """Raises ValueError, saying what to do, unless the model is a plain network in eval mode."""
    if isinstance(model, torch.export.ExportedProgram):
        raise ValueError(
            f"{caller}: model must be an nn.Module, got an ExportedProgram; "
            "give greenkernels.planning.from_exported(program)"
        )
    if not isinstance(model, nn.Module):
        raise ValueError(f"{caller}: model must be an nn.Module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            f"{caller}: model must be a plain nn.Module, got a {type(model).__name__}, whose layers "
            "are fixed; convert the network that it was made from, then script or trace that"
        )
    for name, module in model.named_modules():
        _require_plain(name, module, caller)
    require_eval(model, caller)


def _require_plain(name: str, module: nn.Module, caller: str) -> None:
    where = f"its module {name!r}" if name else "it"
    kind = type(module).__name__
    if kind == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
        raise ValueError(
            f"{caller}: model must not be compiled yet, but {where} is; convert the network first, "
            "then torch.compile the result"
        )
    if kind in _WRAPPERS and type(module).__module__.startswith("torch."):
        raise ValueError(f"{caller}: model must not be wrapped, but {where} is a {kind}; give its .module")
    if any(base.__name__ == "FSDPModule" for base in type(module).__mro__):
        raise ValueError(
            f"{caller}: model must be whole, but {where} is sharded by fully_shard; convert it first, or a copy of it "
            "loaded from its full state_dict"
        )
    for tensor_name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if is_lazy(tensor):
            raise ValueError(
                f"{caller}: model must be initialised, but {tensor_name} of {where} is not; "
                "call the network once"
            )


def require_eval(model: nn.Module, caller: str) -> None:
    """Raises ValueError naming the first module in training mode: its forward is another function than in eval mode."""
    for name, module in model.named_modules():
        if module.training and not isinstance(module, torch.jit.ScriptModule):
            where = f"its module {name!r}" if name else type(model).__name__
            raise ValueError(
                f"{caller}: model must be in eval mode, got {where} in training mode; call model.eval() first"
            )
