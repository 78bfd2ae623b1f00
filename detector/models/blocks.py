"""The layers that both families are made of. Attribute names are those of the published weight files."""

from __future__ import annotations

import torch
from torch import nn

BN_EPS = 1e-3
BN_MOMENTUM = 0.03

ACTIVATIONS = {
    "silu": lambda: nn.SiLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.1, inplace=True),
}


class ConvBnAct(nn.Module):
    """Convolution without bias, batch normalisation, activation; "same" padding.

    Args:
        c_in: channels in.
        c_out: channels out.
        kernel: side of the kernel, odd.
        stride: step.
        activation: a key of ACTIVATIONS.
        groups: channel groups of the convolution; `c_in` makes it depthwise.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, *, activation: str = "silu", groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(c_out, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c_in, h, w) to (b, c_out, h / stride, w / stride)."""
        return self.act(self.bn(self.conv(x)))

    def fuse(self) -> None:
        """Fold the normalisation into the convolution, which gets a bias. A second call changes nothing."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fused_conv(self.conv, self.bn)
            self.bn = nn.Identity()


class DepthwiseConv(nn.Module):
    """A depthwise convolution and a pointwise one, each with normalisation and activation (YOLOX-nano)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, *, activation: str = "silu") -> None:
        super().__init__()
        self.dconv = ConvBnAct(c_in, c_in, kernel, stride, activation=activation, groups=c_in)
        self.pconv = ConvBnAct(c_in, c_out, activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c_in, h, w) to (b, c_out, h / stride, w / stride)."""
        return self.pconv(self.dconv(x))


class RepConv(nn.Module):
    """Planned re-parameterised convolution without identity branch: 3x3 and 1x1 in training, one 3x3 when fused.

    Source: YOLOv7 (arXiv 2207.02696), section 4.1; an identity branch would undo the residual or the concatenation.
    """

    def __init__(self, c_in: int, c_out: int, *, activation: str = "silu") -> None:
        super().__init__()
        self.rbr_dense: nn.Sequential | None = _conv_and_norm(c_in, c_out, 3)
        self.rbr_1x1: nn.Sequential | None = _conv_and_norm(c_in, c_out, 1)
        self.rbr_reparam: nn.Conv2d | None = None
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c_in, h, w) to (b, c_out, h, w)."""
        if self.rbr_dense is None or self.rbr_1x1 is None:
            return self.act(self.rbr_reparam(x)) if self.rbr_reparam is not None else x
        return self.act(self.rbr_dense(x) + self.rbr_1x1(x))

    def fuse(self) -> None:
        """Fold both branches into one convolution. A second call changes nothing."""
        if self.rbr_dense is None or self.rbr_1x1 is None:
            return
        dense = fused_conv(*_parts(self.rbr_dense))
        pointwise = fused_conv(*_parts(self.rbr_1x1))
        # A 1x1 kernel is a 3x3 kernel that is zero but for its centre.
        dense.weight.data += nn.functional.pad(pointwise.weight.data, (1, 1, 1, 1))
        if dense.bias is not None and pointwise.bias is not None:
            dense.bias.data += pointwise.bias.data
        self.rbr_reparam, self.rbr_dense, self.rbr_1x1 = dense, None, None


class SpaceToDepth(nn.Module):
    """Every second pixel in each direction into channels of its own: (b, c, h, w) to (b, 4 c, h / 2, w / 2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Order of the four: top left, bottom left, top right, bottom right."""
        return torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1)


class Concat(nn.Module):
    """Concatenation along the channels."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """(b, c_i, h, w) each to (b, sum of c_i, h, w)."""
        return torch.cat(inputs, 1)


class Add(nn.Module):
    """Sum of two maps of equal shape."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """(b, c, h, w) twice to (b, c, h, w)."""
        return a + b


def max_pool(kernel: int, stride: int = 1) -> nn.MaxPool2d:
    """Max pooling; "same" padding for stride 1, none for stride 2."""
    return nn.MaxPool2d(kernel, stride, kernel // 2 if stride == 1 else 0)


def fused_conv(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution with bias that equals `conv` followed by `norm` in evaluation; computed in float64."""
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # type: ignore[union-attr]
    fused = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=True,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    before = conv.bias.double() if conv.bias is not None else 0.0
    fused.weight.data.copy_(conv.weight.double() * scale.view(-1, 1, 1, 1))
    bias = norm.bias.double() + (before - norm.running_mean.double()) * scale  # type: ignore[union-attr]
    if fused.bias is not None:
        fused.bias.data.copy_(bias)
    return fused.train(conv.training)


def _conv_and_norm(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(c_out, eps=BN_EPS, momentum=BN_MOMENTUM),
    )


def _parts(branch: nn.Sequential) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv, norm = branch
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"wanted a convolution and a normalisation, found {branch}")
    return conv, norm
