"""Matrix products, convolutions and attention; operations as torch's own flop counter has them, biases added."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from .. import reuse
from ..counts import Counts, Uncounted
from ..layer_rules.norm import PER_GROUP, STATISTICS
from ..layer_rules.pointwise import GELU_ERF, OPERATIONS, SOFTMAX
from ..layer_rules.sequence import LSTM_UNIT, attention_flops
from ..ops import Op, op_rule


def _torch_count(op: Op) -> int:
    return int(flop_registry[op.func._overloadpacket](*op.args, **op.kwargs, out_val=op.out))


def _product(op: Op, first: Tensor, extra: int) -> Counts:
    """Work of products ``first @ second``, batched or not, with what passes over them again."""
    out = op.outputs[0]
    items = math.prod(out.shape[:-2])
    each = reuse.product(*out.shape[-2:], first.shape[-1], first.element_size())
    return replace(
        op.work(_torch_count(op) + extra), streams=tuple(s._replace(bytes=s.bytes * items) for s in each)
    )


@op_rule("mm", "bmm")
def product(op: Op) -> Counts:
    return _product(op, op.inputs[0], 0)


@op_rule("addmm", "baddbmm")
def product_and_sum(op: Op) -> Counts:
    """1 more an output element for the added matrix, and 1 for each factor that is not 1."""
    factors = sum(op.arguments[name] != 1 for name in ("alpha", "beta"))
    return _product(op, op.inputs[1], (1 + factors) * op.elements)


@op_rule("mv", "dot", "vdot")
def vector_product(op: Op) -> int:
    return 2 * op.inputs[0].numel()


@op_rule("convolution", "_convolution")
def convolution(op: Op) -> Counts:
    work = op.work(_torch_count(op) + (op.elements if op.arguments["bias"] is not None else 0))
    if op.arguments["transposed"]:
        return work
    x, weight, groups = op.inputs[0], op.arguments["weight"], op.arguments["groups"]
    taps, out_c = math.prod(weight.shape[2:]), weight.shape[0]
    each = op.elements // max(1, out_c), out_c // groups, weight.shape[1] * taps
    row = x.shape[1] * x.shape[-1] * x.element_size()
    return replace(work, streams=reuse.convolution(groups, each, row, taps, x.element_size()))


@op_rule("convolution_backward")
def convolution_backward(op: Op) -> int:
    """The gradient of the bias adds up the gradient of the output."""
    bias = op.arguments["grad_output"].numel() if op.arguments["output_mask"][2] else 0
    return _torch_count(op) + bias


@op_rule(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
)
def attention(op: Op) -> int:
    """Both products, the scaled query and the softmax; masked scores count like the others."""
    query, key, value = (op.arguments[name] for name in ("query", "key", "value"))
    if op.arguments.get("dropout_p"):
        raise Uncounted("draws random numbers, which no rule counts")
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return sdpa_flop_count(query.shape, key.shape, value.shape) + query.numel() + SOFTMAX * scores


def _self_attention(op: Op, query: Any, key: Any) -> int:
    batch, length, width = query.shape
    rows = (batch * length, batch * key.shape[1])
    return attention_flops(rows, batch * length * key.shape[1], width, _heads(op), (width, width), True)


def _heads(op: Op) -> int:
    return next(op.arguments[name] for name in ("num_head", "num_heads") if name in op.arguments)


@op_rule("_native_multi_head_attention")
def native_attention(op: Op) -> int:
    return _self_attention(op, op.arguments["query"], op.arguments["key"])


@op_rule("_transformer_encoder_layer_fwd")
def encoder_layer(op: Op) -> int:
    """Attention, the two linear layers, two sums with the input of a block, two layer norms."""
    src, hidden = op.arguments["src"], op.arguments["ffn_weight_1"].shape[0]
    rows, width = math.prod(src.shape[:-1]), src.shape[-1]
    linear = rows * (2 * width * hidden + hidden + 2 * hidden * width + width)
    activation = rows * hidden * (GELU_ERF if op.arguments["use_gelu"] else OPERATIONS[nn.ReLU])
    norms = 2 * ((STATISTICS + 2) * src.numel() + PER_GROUP * rows)
    return _self_attention(op, src, src) + linear + activation + norms + 2 * src.numel()


@op_rule("mkldnn_rnn_layer")
def lstm_layer(op: Op) -> int:
    """One layer and direction of an LSTM in inference."""
    if op.arguments["mode"] != 2:
        raise Uncounted("only LSTMs have a counting rule")
    steps, batch, width = op.arguments["input"].shape
    hidden = op.arguments["hidden_size"]
    gates = 4 * hidden * (2 * (width + hidden) + 2 * op.arguments["has_biases"])
    return steps * batch * (gates + LSTM_UNIT * hidden)
