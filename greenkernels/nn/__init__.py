"""Modules that stand in for those of ``torch.nn``: same constructor, same ``state_dict``, our kernels."""

from .codebook_gemm import CodebookLinear
from .csr_conv2d import SparseConv2d
from .csr_matmul import SparseLinear
from .depthwise_conv2d import DepthwiseConv2d
from .direct_conv2d import DirectConv2d
from .folded_conv2d import FoldedConv2d
from .half_gemm import HalfLinear
from .int4_gemm import Int4Linear
from .int8_conv2d import Int8Conv2d
from .int8_gemm import Int8Linear
from .linear_rnn import LinearGRU, LinearLSTM
from .paired_max_pool2d import PairedMaxPool2d
from .separable_conv2d import InvertedBottleneck, SeparableConv2d
from .strassen_conv2d import StrassenConv2d
from .strassen_gemm import StrassenLinear
from .winograd_conv2d import WinogradConv2d

__all__ = [
    "CodebookLinear",
    "DepthwiseConv2d",
    "DirectConv2d",
    "FoldedConv2d",
    "HalfLinear",
    "Int4Linear",
    "Int8Conv2d",
    "Int8Linear",
    "InvertedBottleneck",
    "LinearGRU",
    "LinearLSTM",
    "PairedMaxPool2d",
    "SeparableConv2d",
    "SparseConv2d",
    "SparseLinear",
    "StrassenConv2d",
    "StrassenLinear",
    "WinogradConv2d",
]
