"""The networks of the papers, without BatchNorm: with it an output would depend on the other images of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

import bdlcore as bdl


class _Block(nn.Module):
    """Normalise, ReLU, convolve, twice; beside it the input, through a 1 x 1 convolution where the shape changes."""

    def __init__(self, below: int, width: int, stride: int):
        super().__init__()
        self.norm1, self.norm2 = _norm(below), _norm(width)
        self.conv1 = nn.Conv2d(below, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        changes = stride > 1 or below != width
        self.beside = nn.Conv2d(below, width, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(x))
        beside = self.beside(h) if self.beside is not None else x
        return beside + self.conv2(F.relu(self.norm2(self.conv1(h))))


class PreResNet(nn.Module):
    """A residual network with activations before convolutions (He et al. 2016), and GroupNorm for BatchNorm.

    Args:
        channels: of the images.
        outputs: number of classes.
        blocks: residual blocks of each stage, each stage with half the pixels and twice the channels of the one
            before: (3, 3, 3) is PreResNet-20 with width 16, (2, 2, 2, 2) ResNet-18 with width 64.
        width: channels of the first stage.
    """

    def __init__(self, channels: int, outputs: int, blocks: Sequence[int] = (3, 3, 3), width: int = 16):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        parts, below = [], width
        for stage, count in enumerate(blocks):
            for number in range(count):
                stride = 2 if stage and not number else 1
                parts.append(_Block(below, width << stage, stride))
                below = width << stage
        self.blocks, self.norm, self.out = nn.Sequential(*parts), _norm(below), nn.Linear(below, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.out(h.mean((2, 3)))


def _norm(channels: int) -> nn.GroupNorm:
    """Groups of two channels or more: of one value nothing but 0 would be left."""
    groups = (number for number in (8, 4, 2) if channels % number == 0 and channels >= 2 * number)
    return nn.GroupNorm(next(groups, 1), channels)


NETWORKS = {
    "preresnet-20": lambda image, classes, width: PreResNet(image[0], classes, (3, 3, 3), width),
    "resnet-18": lambda image, classes, width: PreResNet(image[0], classes, (2, 2, 2, 2), width),
    "lenet-5": lambda image, classes, width: bdl.nets.cnn(
        image, (2 * width, 5 * width), 50 * width, classes, kernel=5, pooling="max"
    ),
    "cnn": lambda image, classes, width: bdl.nets.cnn(image, (width, 2 * width), 4 * width, classes),
}


def classifier(
    network: str, x: Tensor, classes: int, width: int, std: float, fan_in: bool = False
) -> bdl.Model:
    """A network for images like x (N, channels, h, w) with the prior N(0, std^2), or N(0, std^2 / fan-in).

    Args:
        network: a key of `NETWORKS`.
        x: images.
        classes: number of outputs.
        width: of the network; PreResNet-20 and ResNet-18 have 16 and 64, LeNet-5 has 10.
        std: prior standard deviation of weights.
        fan_in: whether it is divided by the root of the fan-in.
    """
    net = NETWORKS[network](tuple(x.shape[1:]), classes, width).to(x.device)
    return bdl.Model(net, bdl.GaussianPrior(std, fan_in=fan_in), bdl.Categorical())
