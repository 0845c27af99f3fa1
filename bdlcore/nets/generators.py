"""Networks that draw an image: an untrained hourglass, and its control that is nothing but pixels.

Both are *generators*. Beside `forward_stack`, which `Model` needs, they have

    images(weights, z):  weights (S, D), z (S, inputs, H, W) or (1, inputs, H, W)  ->  (S, channels, H, W)
    noise(rows, seed):   inputs z, one for each row
    image, inputs:       the (channels, height, width) of what they draw, and the channels of z

Normalisation is over the pixels of one channel of one image, so that an image depends on its own weights and input
alone, and a stack of S generators draws what S generators would draw one by one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._support import validate
from .._support.randomness import as_seed, generator
from .protocol import StackedModule

Degradation = Callable[[Tensor], Tensor]
Penalty = Callable[[Tensor], Tensor]
PADDINGS = ("zeros", "reflect")
UPSAMPLINGS = ("bilinear", "nearest")


class Generator(StackedModule):
    """What the generators share; see the module's docstring."""

    image: tuple[int, int, int]
    inputs: int
    degrade: Degradation | None = None

    def images(self, weights: Tensor, z: Tensor) -> Tensor:
        """The pictures (S, channels, H, W) of S settings of the weights (S, D)."""
        raise NotImplementedError

    def seen_through(self, degrade: Degradation | None) -> Generator:
        """The same generator, with the same weights, whose outputs are its images after `degrade`.

        With y = degrade(image) + noise, `Model(generator.seen_through(degrade), prior, Gaussian(noise_std))` is the
        posterior over the weights given y, for every sampler: its x is z (1, inputs, H, W) and its y is the
        observation as one flat row (1, n).

        Args:
            degrade: differentiable map of images (S, channels, H, W) to observations (S, ...); None for the identity.
        """
        seen = copy.copy(self)
        object.__setattr__(seen, "degrade", degrade)  # no submodule, whose parameters would become weights
        return seen

    def check_inputs(self, x: Tensor) -> None:
        """Raise ValueError when x is not one input z of this generator."""
        super().check_inputs(x)
        expected = (1, self.inputs, *self.image[1:])
        if tuple(x.shape) != expected:
            raise ValueError(f"This generator takes z of shape {expected}, got x of shape {tuple(x.shape)}.")

    def widest_activation(self, x: Tensor) -> int:
        """Values of the picture at the finest scale, with the most channels that it has there."""
        return max(self.inputs, self.image[0]) * math.prod(self.image[1:])

    def forward(self, z: Tensor) -> Tensor:
        """The image (1, channels, H, W) of the module's own weights."""
        own = torch.cat([p.flatten() for p in self.parameters()])
        return self.images(own[None], z)

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """Outputs (S, 1, n): the image, or what `degrade` leaves of it, as one flat row for each setting."""
        images = self.images(weights, x)
        return (images if self.degrade is None else self.degrade(images)).flatten(1)[:, None]

    def noise(self, rows: range, seed: int | torch.Generator, **like) -> Tensor:
        """Inputs z, uniform on [0, 0.1], of shape (len(rows), inputs, H, W); row s depends on (seed, s) alone."""
        shape, seed = (self.inputs, *self.image[1:]), as_seed(seed)
        z = [torch.rand(shape, generator=generator(seed, 5, row)) for row in rows]
        return torch.stack(z).mul_(0.1).to(**like)


class Hourglass(Generator):
    """An encoder-decoder with skip connections (Ulyanov, Vedaldi & Lempitsky 2018), drawing an image from noise.

    Each scale halves the picture with a convolution of stride 2, followed by another convolution; the way back doubles
    it, joins what the skip connection kept at that scale, and convolves. A convolution is followed by a
    normalisation of each channel of each image to mean 0 and variance 1 over its pixels, by the bias, and by a leaky
    ReLU of slope 0.2. A last 1 x 1 convolution and a sigmoid give pixels in (0, 1).

    Args:
        image: (channels, height, width) of the pictures; any size that leaves 2 pixels a side at the coarsest scale.
        channels: number of channels at each scale, the finest first; as many halvings as scales.
        skip: channels that a skip connection (a 1 x 1 convolution) keeps at each scale; 0 for none.
        inputs: channels of the input z.
        padding: what lies outside the image: "zeros" or "reflect".
        upsampling: "bilinear" or "nearest".
        pointwise: add a 1 x 1 convolution after each convolution of the way back, as the paper does.
    """

    def __init__(
        self,
        image: tuple[int, int, int] = (3, 64, 64),
        channels: Sequence[int] = (16, 16),
        skip: int = 0,
        inputs: int = 16,
        *,
        padding: str = "zeros",
        upsampling: str = "bilinear",
        pointwise: bool = True,
    ):
        super().__init__()
        for name, value, known in (("padding", padding, PADDINGS), ("upsampling", upsampling, UPSAMPLINGS)):
            if value not in known:
                raise ValueError(f"Unknown {name} {value!r}; choose one of {', '.join(known)}.")
        if len(image) != 3:
            raise ValueError(f"image must be (channels, height, width), got {tuple(image)}.")
        self.image = tuple(validate.count("image", side) for side in image)
        self.channels = tuple(validate.count("channels", width) for width in channels)
        smallest = 2 ** len(self.channels) + 1
        if not self.channels or min(self.image[1:]) < smallest:
            raise ValueError(
                f"{len(self.channels)} halvings need pictures of at least {smallest} pixels a side, got "
                f"{self.image[1]} x {self.image[2]}. Give at least one scale, and fewer or a larger picture."
            )
        self.skip = validate.count("skip", skip, minimum=0)
        self.inputs = validate.count("inputs", inputs)
        self.padding, self.upsampling, self.pointwise = padding, upsampling, pointwise
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        below = inputs
        for width in self.channels:
            scale = {"keep": nn.Conv2d(below, skip, 1)} if skip else {}
            scale |= {"halve": nn.Conv2d(below, width, 3), "mix": nn.Conv2d(width, width, 3)}
            self.down.append(nn.ModuleDict(scale))
            below = width
        for width in reversed(self.channels):
            scale = {"join": nn.Conv2d(below + skip, width, 3)}
            scale |= {"point": nn.Conv2d(width, width, 1)} if pointwise else {}
            self.up.append(nn.ModuleDict(scale))
            below = width
        self.paint = nn.Conv2d(below, self.image[0], 1)
        self._shapes = [p.shape for p in self.parameters()]

    def images(self, weights: Tensor, z: Tensor) -> Tensor:
        """As in the module's docstring, by grouped convolutions: one group of channels per setting.

        It does what PyTorch's own layers do, in the form that is fastest on a CPU: upsampling and 1 x 1 convolutions
        as matrix products, which makes a step of a fit at 64 pixels 1.3 times as fast.
        """
        S = len(weights)
        parts = weights.split([shape.numel() for shape in self._shapes], dim=1)
        parameters = zip(parts, self._shapes, strict=True)

        def kernel_and_bias() -> tuple[Tensor, Tensor]:
            (kernel, shape), (bias, _) = next(parameters), next(parameters)
            return kernel.reshape(-1, *shape[1:]), bias.reshape(1, -1, 1, 1)

        def layer(h: Tensor, stride: int = 1) -> Tensor:
            kernel, bias = kernel_and_bias()
            return _activate(self._convolve(h, kernel, stride), bias)

        h, kept = z.flatten(0, 1)[None], []  # a z that all settings share is one group for them all
        for _ in self.channels:
            kept.append((layer(h) if self.skip else None, h.shape[2:]))
            h = layer(layer(h, stride=2))
        for skipped, size in reversed(kept):
            h = self._enlarge(h, size)
            kernel, bias = kernel_and_bias()
            if self.skip:
                # a convolution of joined channels is the sum of theirs; on a CPU the whole network is 1.3 times as
                # fast with 16 and 4 channels apart as with 20 together
                wide = h.shape[1] // S
                h = self._convolve(h, kernel[:, :wide]) + self._convolve(skipped, kernel[:, wide:])
            else:
                h = self._convolve(h, kernel)
            h = _activate(h, bias)
            h = layer(h) if self.pointwise else h
        kernel, bias = kernel_and_bias()
        return torch.sigmoid(self._convolve(h, kernel) + bias).unflatten(1, (S, -1))[0]

    def widest_activation(self, x: Tensor) -> int:
        """As in `Generator`: where the way back joins what was kept, at full size."""
        below = self.channels[1] if len(self.channels) > 1 else self.channels[0]
        widest = max(self.inputs, below + self.skip, self.channels[0], self.image[0])
        return widest * math.prod(self.image[1:])

    def _convolve(self, h: Tensor, kernel: Tensor, stride: int = 1) -> Tensor:
        groups = h.shape[1] // kernel.shape[1]
        if kernel.shape[-1] == 1:
            each = kernel.reshape(groups, -1, kernel.shape[1]) @ h.reshape(groups, kernel.shape[1], -1)
            return each.reshape(1, -1, *h.shape[2:])
        margin = kernel.shape[-1] // 2
        if self.padding == "reflect":
            h, margin = F.pad(h, [margin] * 4, mode="reflect"), 0
        return F.conv2d(h, kernel, None, stride, margin, groups=groups)

    def _enlarge(self, h: Tensor, size: Sequence[int]) -> Tensor:
        """h upsampled to pictures of that size: by one matrix per side where that is faster, up to about 256 pixels."""
        if max(size) > 256:
            corners = {"align_corners": False} if self.upsampling == "bilinear" else {}
            return F.interpolate(h, size=tuple(size), mode=self.upsampling, **corners)

        def matrix(small: int, large: int) -> Tensor:
            mode = "linear" if self.upsampling == "bilinear" else self.upsampling
            units = torch.eye(small, dtype=h.dtype, device=h.device)[None]
            return F.interpolate(units, large, mode=mode)[0].T  # what becomes of each unit vector

        return matrix(h.shape[2], size[0]) @ (h @ matrix(h.shape[3], size[1]).T)


class Pixels(Generator):
    """The control without a network: the weights are the pixels, image = 1/2 + w. It ignores its input.

    Args:
        image: (channels, height, width).
    """

    inputs = 1

    def __init__(self, image: tuple[int, int, int] = (3, 64, 64)):
        super().__init__()
        self.image = tuple(validate.count("image", side) for side in image)
        self.offset = nn.Parameter(torch.zeros(math.prod(self.image)))

    def images(self, weights: Tensor, z: Tensor) -> Tensor:
        """As in the module's docstring."""
        return weights.unflatten(1, self.image) + 0.5


def _activate(h: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(F.group_norm(h, h.shape[1]) + bias, 0.2, inplace=True)


hourglass = Hourglass  # as `nets.hourglass`


def paper_hourglass(image: tuple[int, int, int] = (3, 512, 512)) -> Hourglass:
    """The network of the deep-image-prior paper: five scales of 128 channels, 4 for skips, 32 inputs, reflection.

    2.2 million weights. Two things differ from its code: channels are normalised without a learned scale, which the
    next convolution absorbs, and not once more where a skip connection joins.
    """
    return Hourglass(image, (128,) * 5, skip=4, inputs=32, padding="reflect")
