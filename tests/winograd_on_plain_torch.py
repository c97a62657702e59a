"""Every op and the module in a process without compiled kernels; run by test_winograd_conv2d_registration.py."""

import itertools

import torch
import torch.nn.functional as F

import greenkernels as gk
from greenkernels.ops.winograd_conv2d_op import conv, packed_conv


def check_values() -> None:
    x, weight, bias = torch.randn(2, 3, 6, 7), torch.randn(5, 3, 3, 3), torch.randn(5)
    dtypes = (torch.float32, torch.float64, torch.bfloat16)
    for dtype, memory_format in itertools.product(dtypes, (torch.contiguous_format, torch.channels_last)):
        a, b, c = x.to(dtype).to(memory_format=memory_format), weight.to(dtype), bias.to(dtype)
        packed = gk.ops.winograd_conv2d_pack(b)
        results = [
            gk.ops.winograd_conv2d(a, b, c, padding=1),
            gk.ops.winograd_conv2d(a, b, c, padding=1, out=torch.empty(2, 5, 6, 7, dtype=dtype).to(a)),
            gk.ops.winograd_conv2d_packed(a, packed, c, out_channels=5, padding=1),
        ]
        expected = F.conv2d(a.double(), b.double(), c.double(), padding=1)
        # 27 products and the bias, each sum rounded once; the result rounded to the dtype.
        bound = 28 * torch.finfo(dtype).eps * expected.abs().max()
        for result in results:
            assert result.dtype == dtype
            assert (result.double() - expected).abs().max() <= bound
        assert results[0].is_contiguous(memory_format=memory_format)


def check_empty() -> None:
    bias = torch.randn(4)
    for shape, padding in [((0, 3, 5, 5), 1), ((1, 3, 0, 4), 2), ((1, 3, 0, 4), 1), ((1, 0, 5, 5), 1)]:
        out = gk.ops.winograd_conv2d(
            torch.randn(shape), torch.randn(4, shape[1], 3, 3), bias, padding=padding
        )
        assert torch.equal(out, bias.view(1, 4, 1, 1).expand_as(out))


def check_registration() -> None:
    x, weight, bias = torch.randn(2, 3, 6, 7), torch.randn(5, 3, 3, 3), torch.randn(5)
    options = ([1, 1], 4, "gelu", None, None, 1.0)
    packed = gk.ops.winograd_conv2d_pack(weight)
    torch.library.opcheck(packed_conv, (x.requires_grad_(), packed, bias, 5, *options))
    torch.library.opcheck(conv, (x, weight.requires_grad_(), bias, *options))


def print_refusal_of_strict_module() -> None:
    x, stock = torch.randn(2, 3, 6, 7), torch.nn.Conv2d(3, 5, 3, padding=1).eval()
    module = gk.nn.WinogradConv2d.from_module(stock)
    assert torch.equal(module(x), stock(x))
    assert list(module.fallbacks.values()) == [1], module.fallbacks
    strict = gk.nn.WinogradConv2d.from_module(stock, strict=True)
    try:
        strict(x)
    except RuntimeError as error:
        print(error)


if __name__ == "__main__":
    torch.manual_seed(0)
    check_values()
    check_empty()
    check_registration()
    print_refusal_of_strict_module()
