"""Modules that stand in for those of ``torch.nn``: same constructor, same ``state_dict``, our kernels."""

from .winograd_conv2d import WinogradConv2d

__all__ = ["WinogradConv2d"]
