"""Embeddings, recurrent layers and attention."""

from __future__ import annotations

import math

from torch import nn

from ..counts import Call, Counts, Uncounted, dtype_name, rule
from .pointwise import SOFTMAX

INDEX_BYTES = 8  # torch's int64

# Sigmoids are 4 operations, tanh is 1; c' = f c + i g is 3, h' = o tanh(c') is 1 and the tanh.
LSTM_UNIT = 3 * 4 + 2 * 1 + 3 + 1
# Two sigmoids, n = tanh(x + r h) is 3, h' = (1 - z) n + z h is 4.
GRU_UNIT = 2 * 4 + 3 + 4
RNN_UNIT = 1  # tanh or relu


@rule(nn.Embedding)
def embedding(module: nn.Embedding, call: Call) -> Counts:
    """No operation; each index, its row and the copy of the row. At most the whole table is read."""
    if module.max_norm is not None:
        raise Uncounted("max_norm rescales rows, which no rule counts")
    indices, size = math.prod(call.input), module.weight.element_size()
    rows = min(indices, module.num_embeddings) * module.embedding_dim * size
    written = indices * module.embedding_dim * size
    return Counts(0, indices * INDEX_BYTES + rows, written, rows, dtype_name(module.weight.dtype))


@rule(nn.LSTM, nn.GRU, nn.RNN)
def recurrent(module: nn.RNNBase, call: Call) -> Counts:
    """Per step, layer and direction: the products of all gates, their two biases, the cell, and an LSTM's projection.

    Weights count once, not once a step. States: those given are read, the last ones are written.
    """
    if call.input[-1] != module.input_size or len(call.input) not in (2, 3):
        raise Uncounted(f"input must be [.., .., {module.input_size}], got {list(call.input)}")
    if module.training and module.dropout:
        raise Uncounted("draws random numbers in training mode, which no rule counts")
    gates, unit = {"LSTM": (4, LSTM_UNIT), "GRU": (3, GRU_UNIT)}.get(module.mode, (1, RNN_UNIT))
    hidden, directions = module.hidden_size, 2 if module.bidirectional else 1
    out = module.proj_size or hidden
    steps = math.prod(call.input[:-1])  # of all sequences
    per_step = 0
    for layer in range(module.num_layers):
        depth = (module.input_size if layer == 0 else directions * out) + out
        gate_flops = gates * hidden * (2 * depth + 2 * module.bias)
        projection = 2 * hidden * module.proj_size
        per_step += directions * (gate_flops + unit * hidden + projection)
    sequences = 1 if len(call.input) == 2 else call.input[0 if module.batch_first else 1]
    last = sequences * module.num_layers * directions * (out + (hidden if module.mode == "LSTM" else 0))
    return call.work(steps * per_step, steps * directions * out + last, tuple(module.parameters()))


@rule(nn.MultiheadAttention)
def attention(module: nn.MultiheadAttention, call: Call) -> Counts:
    """Projections with their biases, scaled scores, softmax, weighted sum; without masks and the averaged map.

    One shape is self-attention with one tensor, three are query, key and value.
    """
    if module.bias_k is not None or module.add_zero_attn:
        raise Uncounted("add_bias_kv and add_zero_attn have no counting rule")
    if module.training and module.dropout:
        raise Uncounted("draws random numbers in training mode, which no rule counts")
    if len(call.shapes) not in (1, 3):
        raise Uncounted(f"takes one shape or those of query, key and value, got {len(call.shapes)}")
    query, key, value = call.shapes * 3 if len(call.shapes) == 1 else call.shapes
    width, heads = module.embed_dim, module.num_heads
    q_rows, k_rows = math.prod(query[:-1]), math.prod(key[:-1])
    batch = 1 if len(query) == 2 else query[0 if module.batch_first else 1]
    pairs = q_rows * k_rows // max(batch, 1)  # of a query and a key of the same sequence
    biased = module.in_proj_bias is not None
    flops = attention_flops((q_rows, k_rows), pairs, width, heads, (key[-1], value[-1]), biased)
    return call.work(flops, q_rows * width, tuple(module.parameters()))


def attention_flops(
    rows: tuple[int, int], pairs: int, width: int, heads: int, depths: tuple[int, int], biased: bool
) -> int:
    """Operations of multi-head attention.

    Args:
        rows: of the query; of key and value.
        pairs: of a query row and a key row of the same sequence.
        width: of the projected query, key and value, all heads together.
        depths: of a key row and of a value row before their projection.
        biased: whether the four projections have a bias.
    """
    q_rows, k_rows = rows
    projections = 2 * width * (2 * q_rows * width + k_rows * sum(depths))  # query, output; key, value
    biases = (2 * q_rows + 2 * k_rows) * width if biased else 0
    products = 2 * 2 * pairs * width  # query times key, weights times value
    return projections + biases + products + q_rows * width + SOFTMAX * pairs * heads
