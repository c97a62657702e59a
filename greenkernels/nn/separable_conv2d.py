"""SeparableConv2d and InvertedBottleneck: blocks of mobile networks as one module, on the separable_conv2d kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..ops import activation as activations
from .conversion import check_stock
from .depthwise_conv2d import DepthwiseConv2d
from .direct_conv2d import DirectConv2d
from .separable_call import Layers, RunsInOneCall

if TYPE_CHECKING:
    from ..energy.counts import Counts


def _flat(modules: Sequence[nn.Module]) -> Iterator[nn.Module]:
    """The layers in order, without those that do nothing in eval mode."""
    for module in modules:
        if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
            yield from _flat(list(module))
        elif not isinstance(module, (nn.Identity, nn.Dropout, nn.Dropout2d)):
            yield module


def _layers(modules: Sequence[nn.Module]) -> list[tuple[nn.Conv2d, str | None]]:
    """Each convolution with the batch norm behind it folded in, and its activation."""
    layers: list[tuple[nn.Conv2d, str | None]] = []
    for module in _flat(modules):
        conv, kind = layers[-1] if layers else (None, None)
        if type(module) is nn.Conv2d:
            check_stock(module, nn.Conv2d)
            layers.append((module, None))
        elif type(module) is nn.BatchNorm2d and conv is not None and kind is None:
            if module.training or not module.track_running_stats:
                raise ValueError("batch norm must be in eval mode with running statistics, got training=True")
            layers[-1] = (fuse_conv_bn_eval(conv.eval(), module), None)
        elif activations.kind_of(module) is not None and conv is not None and kind is None:
            layers[-1] = (conv, activations.kind_of(module))
        else:
            raise ValueError(
                "modules must be convolutions, each followed by batch norm and activation or neither, "
                f"got {type(module).__name__}"
            )
    return layers


def _is_pointwise(conv: nn.Conv2d) -> bool:
    plain = (conv.kernel_size, conv.stride, conv.groups) == ((1, 1), (1, 1), 1)
    return plain and conv.padding in ((0, 0), "valid", "same")


def _pointwise(name: str, conv: nn.Conv2d, activation: str | None) -> DirectConv2d:
    if not _is_pointwise(conv):
        raise ValueError(
            f"{name} must be a 1x1 convolution with stride 1, one group and no padding, got {conv}"
        )
    return DirectConv2d.from_module(conv, activation=activation)


class SeparableConv2d(RunsInOneCall, nn.Module):
    """``project(depthwise(expand(input)))`` with 1x1 convolutions around a depthwise one, the first optional.

    Made by ``from_modules``; for inference. Where no gradient is asked for the three layers are one call of
    ``greenkernels.ops.separable_conv2d_packed``, which keeps the maps between them in the caches; all other calls
    (gradients, dtypes but float32, other devices, autocast, compilation) run them one after the other.

    Args:
        expand: The first layer, or None.
        depthwise: The layer in the middle.
        project: The last layer.
        residual: Whether the input is added before the last activation.

    Raises:
        ValueError: The channels of the layers do not follow on each other, or those of input and output differ
            where ``residual`` is set, or its stride is not 1.
    """

    def __init__(
        self,
        expand: DirectConv2d | None,
        depthwise: DepthwiseConv2d,
        project: DirectConv2d,
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = depthwise.in_channels if expand is None else expand.in_channels
        self.out_channels = project.out_channels
        for before, after in ((expand, depthwise), (depthwise, project)):
            if before is not None and before.out_channels != after.in_channels:
                raise ValueError(
                    f"layers must follow on each other, got {before.out_channels} output channels before "
                    f"{after.in_channels} input channels"
                )
        if residual and (self.in_channels != self.out_channels or depthwise.stride != (1, 1)):
            raise ValueError(
                f"residual must be False for {self.in_channels} -> {self.out_channels} channels with stride "
                f"{depthwise.stride}, got True"
            )
        self.expand, self.depthwise, self.project, self.residual = expand, depthwise, project, residual
        self.train(depthwise.training)

    @classmethod
    def from_modules(cls, *modules: nn.Module, residual: bool = False) -> SeparableConv2d:
        """The block that computes what these modules do one after the other.

        Args:
            *modules: ``nn.Conv2d`` layers (1x1, depthwise, 1x1, the first optional), each with an ``nn.BatchNorm2d`` in
                eval mode and an activation behind it or without; in any nesting of ``nn.Sequential``. Batch norms are
                folded into copies of their convolutions' parameters; a convolution without one shares its own.
            residual: Whether the input is added to the result of the last batch norm.

        Raises:
            ValueError: The modules are not of this form; the message names the first that is not.
        """
        layers = _layers(modules)
        if len(layers) not in (2, 3):
            raise ValueError(f"modules must hold 2 or 3 convolutions, got {len(layers)}")
        *first, (conv, kind), (last, last_kind) = layers
        expand = _pointwise("expand", *first[0]) if first else None
        try:
            depthwise = DepthwiseConv2d.from_module(conv, activation=kind)
        except ValueError as error:
            raise ValueError(f"depthwise: {error}") from None
        block = cls(expand, depthwise, _pointwise("project", last, last_kind), residual=residual)
        return block.eval()

    def forward(self, input: Tensor) -> Tensor:
        """The block.

        Args:
            input: ``[batch, in_channels, h, w]`` or ``[in_channels, h, w]``, any strides.

        Returns:
            ``[batch, out_channels, out_h, out_w]`` in the memory format of ``input``.
        """
        return self._run_block(input, input if self.residual else None)

    def _layers(self) -> Layers:
        return self.expand, self.depthwise, self.project

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def to_modules(self) -> list[nn.Module]:
        """The stock layers in order, on the same Parameters; batch norms stay folded."""
        return [conv.to_module() for conv in self._convs()]

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, residual={self.residual}"

    def counts(self, *input_shapes: Sequence[int]) -> Counts:
        """Work of the kernel in a call on an input of this shape; see `greenkernels.energy`."""
        from ..energy.kernels.separable_conv2d import count_module  # not needed to run the layer

        return count_module(self, *input_shapes)


class InvertedBottleneck(SeparableConv2d):
    """A `SeparableConv2d` with a first 1x1 convolution, as in MobileNet-V2 and what came after it."""

    @classmethod
    def from_modules(cls, *modules: nn.Module, residual: bool = False) -> InvertedBottleneck:
        """As `SeparableConv2d.from_modules`, of three convolutions."""
        block = super().from_modules(*modules, residual=residual)
        if block.expand is None:
            raise ValueError("modules must hold 3 convolutions, got 2")
        return block
