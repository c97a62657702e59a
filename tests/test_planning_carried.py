"""What users put on a layer: plain attributes move along and come back, anything else keeps the layer."""

import pytest
import torch
from quick_kernel import OPTIONS, QuickConv2d, X, conv, net, quick_kernel, why  # noqa: F401
from torch import nn

from greenkernels.planning import optimize, restore

pytestmark = pytest.mark.usefixtures("quick_kernel")


def test_marks_on_a_layer_move_along_and_come_back():
    model = net(conv(8, 8))
    model[0]._is_initialized = True
    model[0].remark = {"by": "someone"}
    fast = optimize(model, X, **OPTIONS)
    assert isinstance(fast[0], QuickConv2d)
    assert fast[0]._is_initialized
    assert fast[0].remark == {"by": "someone"}
    back = restore(fast)
    assert sorted(back[0].__dict__) == sorted(model[0].__dict__)
    assert back[0].remark == {"by": "someone"}


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (lambda m: m.register_buffer("packed", torch.ones(1)), "has a buffer 'packed' of its own"),
        (
            lambda m: m.register_parameter("scale", nn.Parameter(torch.ones(1))),
            "has a parameter 'scale' of its own",
        ),
        (lambda m: m.add_module("extra", nn.ReLU().eval()), "has a submodule 'extra' of its own"),
        (lambda m: setattr(m, "_conv_forward", m._conv_forward), "has a method '_conv_forward' of its own"),
        (lambda m: setattr(m, "tile", 3), "has an attribute 'tile' of its own, a name that quick uses"),
        (lambda m: m.register_forward_pre_hook(lambda m, a: None), "has hooks"),
        (lambda m: m.register_full_backward_hook(lambda m, a, b: None), "has hooks"),
        (lambda m: m.register_state_dict_pre_hook(lambda *a: None), "has hooks"),
        (lambda m: m.register_load_state_dict_post_hook(lambda m, k: None), "has hooks"),
        (lambda m: setattr(m, "forward", m.forward), "has hooks, or a forward of its own"),
    ],
)
def test_what_a_replacement_would_lose_keeps_the_layer(put, reason):
    model = net(conv(8, 8), conv(8, 8))
    put(model[0])
    kernels, reasons = why(model)
    assert kernels["0"] == "stock"
    assert reasons["0"].startswith(reason)


def test_hooks_on_containers_stay_and_run():
    seen = []
    model = net(net(conv(8, 8), nn.ReLU()), conv(8, 8))
    model[0].register_forward_hook(lambda m, a, y: seen.append(tuple(y.shape)))
    fast = optimize(model, X, **OPTIONS)
    assert isinstance(fast[0][0], QuickConv2d)
    seen.clear()
    fast(X)
    assert seen == [(1, 8, 9, 11)]
