"""separable_conv2d: the op and the blocks on it against float64, and against the chain of their layers."""

import copy
import io
import itertools

import pytest
import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, FORMATS, make, needs_kernels
from torch import nn

import greenkernels as gk
from greenkernels.nn import InvertedBottleneck, SeparableConv2d
from greenkernels.ops import activation as activations
from greenkernels.ops.separable_conv2d_op import chain, packed_conv

EPS = torch.finfo(torch.float32).eps


def stock_layers(
    in_c: int, hidden: int, out_c: int, *, expand=True, kernel=3, stride=1, dilation=1, seed=0
) -> list[nn.Module]:
    """Convolutions with batch norms and ReLU6 as in MobileNet-V2, in eval mode with statistics that are not 0 and 1."""
    convs = [
        nn.Conv2d(hidden, hidden, kernel, stride, dilation * (kernel // 2), dilation, hidden, bias=False),
        nn.Conv2d(hidden, out_c, 1, bias=False),
    ]
    if expand:
        convs.insert(0, nn.Conv2d(in_c, hidden, 1, bias=False))
    layers: list[nn.Module] = []
    for index, conv in enumerate(convs):
        depth, channels = conv.weight[0].numel(), conv.out_channels
        norm = nn.BatchNorm2d(channels)
        with torch.no_grad():  # the scale that trained layers have: outputs as large as inputs
            conv.weight.copy_(make(tuple(conv.weight.shape), seed + index) * (3 / max(1, depth)) ** 0.5)
            norm.running_mean.copy_(make((channels,), seed + 10))
            norm.running_var.copy_(make((channels,), seed + 11).abs() + 0.5)
            norm.bias.copy_(make((channels,), seed + 12))
        layers += [conv, norm, nn.ReLU6()]
    return [layer.eval() for layer in layers[:-1]]


def exact(layers: list[nn.Module], x: torch.Tensor, residual: bool = False) -> torch.Tensor:
    out = copy.deepcopy(nn.Sequential(*layers)).double()(x.double())
    return out + x.double() if residual else out


def assert_near(out: torch.Tensor, expected: torch.Tensor, depth: int) -> None:
    """Three layers, each rounding as a sum over at most ``depth`` products of values below 6 does; batch norms scale
    by at most 1 / sqrt(0.5)."""
    assert out.shape == expected.shape
    bound = 3 * 4 * EPS * (depth + 3) ** 0.5 * 6 * 2**1.5
    assert ((out.double() - expected).abs() <= bound).all(), ((out.double() - expected).abs().max(), bound)


CASES = [
    (1, 1, 1, 1, 1, {}),
    (3, 17, 5, 7, 9, {}),
    (16, 96, 24, 15, 13, {"stride": 2}),
    (24, 40, 24, 14, 14, {"kernel": 5}),
    (33, 33, 40, 9, 8, {"expand": False}),
    (16, 16, 32, 21, 23, {"expand": False, "stride": 2}),
    (8, 20, 12, 12, 10, {"dilation": 2}),
    (8, 48, 8, 6, 30, {"kernel": 7, "stride": 2}),
    (4, 300, 20, 61, 70, {}),  # hidden maps larger than L2: by pieces of rows
    (400, 400, 20, 61, 70, {"expand": False, "stride": 2}),
]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_computes_what_its_layers_do(case, memory_format, isa):
    in_c, hidden, out_c, h, w, options = case
    layers = stock_layers(in_c, hidden, out_c, **options)
    x = make((2, in_c, h, w), 1, memory_format=memory_format)
    residual = in_c == out_c and options.get("stride", 1) == 1
    block = SeparableConv2d.from_modules(*layers, residual=residual)
    expected = exact(layers, x, residual)
    with torch.inference_mode():
        out = block(x)
    assert_near(out, expected, max(in_c, hidden))
    assert_near(block(x), expected, max(in_c, hidden))  # with gradients: layer by layer
    assert out.stride() == block(x).stride()


@pytest.mark.parametrize("name", [None, *(n for n in activations.NAMES if n not in activations.WITH_PARAM)])
def test_activations(name, isa):
    convs = [nn.Conv2d(5, 20, 1), nn.Conv2d(20, 20, 3, padding=1, groups=20), nn.Conv2d(20, 5, 1)]
    modules = [m for conv in convs for m in (conv, *([activations.to_module(name, None)] if name else []))]
    block = InvertedBottleneck.from_modules(*modules)
    x = make((1, 5, 9, 8))
    with torch.no_grad():
        torch.testing.assert_close(block(x), nn.Sequential(*modules)(x), rtol=1e-5, atol=1e-5)


@needs_kernels
def test_thread_count_and_repetition_change_no_bit(isa):
    before = torch.get_num_threads()
    block = SeparableConv2d.from_modules(*stock_layers(24, 144, 24), residual=True)
    x = make((1, 24, 57, 61), memory_format=torch.channels_last)
    try:
        results = []
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                results.append(block(x))
        assert all(torch.equal(results[0], other) for other in results[1:])
    finally:
        torch.set_num_threads(before)


def test_gradients_are_those_of_the_layers():
    layers = stock_layers(6, 12, 6)
    block = SeparableConv2d.from_modules(*layers, residual=True)
    x = make((2, 6, 7, 8)).requires_grad_()
    (grad,) = torch.autograd.grad(block(x).square().sum(), x)
    (expected,) = torch.autograd.grad((nn.Sequential(*layers)(x) + x).square().sum(), x)
    torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-4)


def packed_sample(expand: bool = True, in_c: int = 5, w: int = 8) -> tuple:
    in_c, hidden, out_c = (in_c, 20, 7) if expand else (20, 20, 7)
    weights = (
        gk.ops.direct_conv2d_pack(make((hidden, in_c, 1, 1), 2)) if expand else None,
        make((hidden,), 3) if expand else None,
        gk.ops.depthwise_conv2d_pack(make((hidden, 1, 3, 3), 4)),
        make((hidden,), 5),
        gk.ops.direct_conv2d_pack(make((out_c, hidden, 1, 1), 6)),
        None,
    )
    padding = 1 if w else 2
    geometry = (hidden, out_c, [3, 3], [2, 1], [1, padding], [1, 1])
    skip = make((2, out_c, 5, w + 2 * padding - 2), 7)
    return (make((2, in_c, 9, w), 1), *weights, *geometry, "relu6", "silu", None, skip, 0.5)


# Without input channels there is no weight, but a bias; without columns all is padding.
@pytest.mark.parametrize(("expand", "in_c", "w"), [(False, 20, 8), (True, 5, 8), (True, 0, 8), (True, 5, 0)])
def test_opcheck_and_the_chain(expand, in_c, w):
    args = packed_sample(expand, in_c, w)
    torch.library.opcheck(packed_conv, args)
    torch.testing.assert_close(packed_conv(*args), chain(*args), rtol=1e-5, atol=1e-5)
    x = args[0].clone().requires_grad_()
    (grad,) = torch.autograd.grad(packed_conv(x, *args[1:]).sum(), x)
    (expected,) = torch.autograd.grad(chain(x, *args[1:]).sum(), x)
    assert torch.equal(grad, expected)


WRONG = [
    (0, make((5, 9, 8)), "input must be 4-D, got shape [5, 9, 8]"),
    (0, make((2, 5, 9, 8), dtype=torch.float64), "input must be float32, got float64"),
    (1, None, "hidden_channels must be those of input, 5, without expand, got 20"),
    (1, make((7,)), "expand must have 160 packed elements, got 7"),
    (2, make((7,)), "expand_bias must have 20 elements, got 7"),
    (3, make((7,)), "depthwise must have 288 packed elements, got 7"),
    (5, make((7,)), "project must have 320 packed elements, got 7"),
    (6, make((6,)), "project_bias must have 7 elements, got 6"),
    (7, -1, "hidden_channels must be in [0, 2^31), got -1"),
    (10, [0, 1], "stride must be two integers in [1, 2^31), got [0, 1]"),
    (13, "prelu", "expand_activation must be None or an activation without a parameter, got prelu"),
    (15, "swish", "activation must be None or an activation without a parameter, got swish"),
    (16, make((2, 7, 5, 5)), "skip must have shape [2, 7, 5, 8], got [2, 7, 5, 5]"),
]


@pytest.mark.parametrize(("place", "value", "message"), WRONG)
def test_rejects(place, value, message):
    args = list(packed_sample())
    args[place] = value
    on_meta = [arg.to("meta") if isinstance(arg, torch.Tensor) else arg for arg in args]
    for function, given in ((packed_conv, args), (packed_conv, on_meta), (chain, args)):
        with pytest.raises(RuntimeError) as caught:
            function(*given)
        assert str(caught.value) == f"separable_conv2d_packed: {message}"


@pytest.mark.parametrize(
    ("modules", "residual", "message"),
    [
        ([nn.Conv2d(4, 4, 3, groups=4)], False, "modules must hold 2 or 3 convolutions, got 1"),
        ([nn.ReLU(), nn.Conv2d(4, 4, 1)], False, "modules must be convolutions, .*, got ReLU"),
        (
            [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1)],
            False,
            "depthwise: groups must be in_channels, 4, got groups=1",
        ),
        (
            [nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3)],
            False,
            "project must be a 1x1 convolution with stride 1, one group and no padding, got Conv2d",
        ),
        (
            [nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)],
            False,
            "batch norm must be in eval mode",
        ),
        (
            [nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1)],
            True,
            r"residual must be False for 4 -> 8 channels with stride \(1, 1\), got True",
        ),
        (
            [nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(5, 8, 1)],
            False,
            "layers must follow on each other, got 4 output channels before 5 input channels",
        ),
    ],
)
def test_from_modules_names_what_it_cannot_take(modules, residual, message):
    with pytest.raises(ValueError, match=message):
        SeparableConv2d.from_modules(*modules, residual=residual)


def test_a_bottleneck_has_three_layers():
    modules = [nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1)]
    with pytest.raises(ValueError, match="modules must hold 3 convolutions, got 2"):
        InvertedBottleneck.from_modules(*modules)


def test_nested_layers_without_a_norm_share_the_parameters():
    modules = [nn.Conv2d(4, 4, 3, groups=4), nn.Sequential(nn.Hardswish(), nn.Identity(), nn.Conv2d(4, 8, 1))]
    block = SeparableConv2d.from_modules(*modules)
    assert block.depthwise.weight is modules[0].weight
    assert block.depthwise.activation == "hardswish"
    x = make((4, 6, 7))
    with torch.no_grad():
        torch.testing.assert_close(block(x), nn.Sequential(*modules)(x), rtol=1e-5, atol=1e-5)
        back = nn.Sequential(*block.to_modules())
        torch.testing.assert_close(block(x), back(x), rtol=1e-5, atol=1e-5)
    assert "4, 8, residual=False" in repr(block)


@needs_kernels
def test_the_packed_weights_are_never_stale():
    block = SeparableConv2d.from_modules(*stock_layers(6, 12, 8))
    x = make((1, 6, 8, 8))
    with torch.no_grad():
        block(x)
        block.project.weight.mul_(2)
        block.depthwise.bias.zero_()
        expected = nn.Sequential(*block.to_modules())(x)
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_copies_files_compilation_and_other_dtypes():
    block = SeparableConv2d.from_modules(*stock_layers(6, 12, 6), residual=True)
    x, buffer = make((2, 6, 8, 8)), io.BytesIO()
    torch.save(block, buffer)
    with torch.no_grad():
        expected = block(x)
        for other in (copy.deepcopy(block), torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)):
            assert torch.equal(other(x), expected)
        compiled = torch.compile(block, backend=COMPILE_BACKEND, fullgraph=True)
        torch.testing.assert_close(compiled(x), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(block.double()(x.double()).float(), expected, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert block.float()(x).dtype == torch.bfloat16


@needs_kernels
def test_counts_are_the_sums_of_the_layers_without_the_maps_between():
    from greenkernels.energy import count
    from greenkernels.energy.tally import CountOperations, Tally

    block = SeparableConv2d.from_modules(*stock_layers(16, 96, 16), residual=True)
    x, tally = make((1, 16, 9, 10)), Tally()
    counts = count(block, x.shape).counts
    pixels = 90
    sums = 2 * pixels * (16 * 96 + 96 * 9 + 96 * 16)
    assert counts.flops == sums + pixels * (2 * 2 * 96 + 2 * 16)  # ReLU6 is two comparisons
    assert counts.bytes_written == 4 * pixels * 16
    assert counts.bytes_read - counts.weight_bytes == 2 * 4 * pixels * 16
    with torch.no_grad():
        weights = [t for t in itertools.chain(block.buffers(), block.parameters())]
        with CountOperations(tally.add, weights):
            block(x)
    assert tally.total.flops == counts.flops
    assert count(block, (1, 8, 9, 10)).counts is None


def test_relu6_of_zero_times_a_residual_is_exact():
    """Residuals are added in float32 once: small integers come out as they are."""
    convs = [nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1, groups=2), nn.Conv2d(2, 2, 1)]
    with torch.no_grad():
        for conv in convs:
            conv.weight.copy_(torch.randint(-2, 3, conv.weight.shape, dtype=torch.float32))
            conv.bias.zero_()
        block = SeparableConv2d.from_modules(*convs, residual=True)
        x = torch.randint(-3, 4, (1, 2, 5, 6)).float()
        assert torch.equal(block(x), nn.Sequential(*convs)(x) + x)
        assert torch.equal(F.relu6(block(x)), F.relu6(nn.Sequential(*convs)(x) + x))
