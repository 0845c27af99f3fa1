"""The Gaussian process of an infinitely wide convolutional network."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from .kernels import check_activation, expected_product, expected_square

# Pairs of pixels worked on at a time: on a CPU half a megabyte in float64, which stays in the cache
_CHUNK = {"cpu": 2**16, "cuda": 2**24}


@dataclass(frozen=True)
class ConvolutionalKernel:
    """The Gaussian process of a network: convolutions with activation, average pooling, a dense output.

    For the prior `GaussianPrior(weight_std, bias_std, fan_in=True)` and infinitely many channels. With K_0 the product
    of two pixels, averaged over the image's channels, each convolution with a k x k filter, zero padding and stride 1
    gives the covariance of its outputs at pixel p of image x and pixel q of image x'

        K_l(p, q) = bias_std^2 + weight_std^2 (1 / k^2) sum_d E_{l-1}(p + d, q + d),   d in the filter,

    where E_0 = K_0 and E_l = E[act(u) act(v)], (u, v) ~ N(0, K_l). The output layer has

        k(x, x') = bias_std^2 + weight_std^2 mean_windows mean_{p, q in the window} E_L(p, q).

    Covariances of pixels at different places are needed only within a pooling window: with `pool=1` the kernel
    compares patches at the same place alone, with `pool=H` (the whole image) patches at any two places.

    Attributes:
        layers: L, number of convolutions.
        pool: side of the average-pooling windows; 1 for none; the image's side for global average pooling.
        filter_size: k, odd.
        activation, weight_std, bias_std: as for `NetworkKernel`.

    Cost: N M H W (2 pool - 1)^2 L at most. Source: Novak et al. (2019); Garriga-Alonso et al. (2019).
    """

    layers: int = 1
    pool: int = 1
    filter_size: int = 3
    activation: str = "relu"
    weight_std: float = 1.0
    bias_std: float = 0.0

    def __post_init__(self):
        for name in ("layers", "pool", "filter_size"):
            validate.count(name, getattr(self, name))
        if self.filter_size % 2 == 0:
            raise ValueError(
                f"filter_size must be odd, so that a filter has a middle, got {self.filter_size}."
            )
        check_activation(self.activation)
        validate.scale("weight_std", self.weight_std)
        validate.scale("bias_std", self.bias_std, zero=True)

    def __call__(self, x: Tensor, x2: Tensor | None = None) -> Tensor:
        """k(x, x2), shape (N, M), for images (N, C, H, W) and (M, C, H, W)."""
        self._check("x", x)
        if x2 is not None:
            self._check("x2", x2, x)
        symmetric = x2 is None or x2 is x
        x = x.movedim(0, -1)  # (C, H, W, N): what is added and convolved comes first, images last
        x2 = x if symmetric else x2.movedim(0, -1)
        variances, variances2 = self._variances(x), self._variances(x2)
        K = x.new_zeros(x.shape[-1], x2.shape[-1])
        rows = max(1, _CHUNK.get(x.device.type, 2**16) // x2[0].numel())
        for start in range(0, len(K), rows):
            these = (..., slice(start, start + rows))
            those = (
                ...,
                slice(start + rows if symmetric else None),
            )  # of a symmetric matrix the lower half is enough
            parts = x[these], [v[these] for v in variances], x2[those], [v[those] for v in variances2]
            K[these[1], those[1]] = self._rows(*parts)
        return K.tril() + K.tril(-1).mT if symmetric else K

    def _rows(self, x: Tensor, variances: list[Tensor], x2: Tensor, variances2: list[Tensor]) -> Tensor:
        """k(x, x2) as a sum over the offsets q - p within a window; a convolution keeps that offset."""
        _, height, width, _ = x.shape
        total = x.new_zeros(x.shape[-1], x2.shape[-1])
        reach = range(1 - self.pool, self.pool)
        for down, right in itertools.product(reach, reach):
            here = _from(height, -down), _from(width, -right)  # the pixels p whose p + offset is in the image
            there = _from(height, down), _from(width, right)
            E = torch.einsum("chwn,chwm->hwnm", x[:, *here], x2[:, *there]) / len(x)
            for v, v2 in zip(variances, variances2, strict=True):
                E = expected_product(
                    self.activation, self._convolve(E), v[here][..., None], v2[there][:, :, None]
                )
            window = _windows(height, width, self.pool, x.device)
            total += E[window[here] == window[there]].sum(0)
        windows = (height // self.pool) * (width // self.pool)
        return self.bias_std**2 + self.weight_std**2 * total / (windows * self.pool**4)

    def _variances(self, x: Tensor) -> list[Tensor]:
        """K_l(p, p) of each image with itself after each convolution, (H, W, N) each."""
        found, E = [], x.square().mean(0)
        for _ in range(self.layers):
            found.append(self._convolve(E))
            E = expected_square(self.activation, found[-1])
        return found

    def _convolve(self, E: Tensor) -> Tensor:
        """K_l from E_{l-1}: the sum over the filter along the two leading axes, zero outside."""
        for axis in (0, 1):
            total = E.clone()
            for d in range(1, min(self.filter_size // 2 + 1, E.shape[axis])):
                rest = E.shape[axis] - d
                total.narrow(axis, d, rest).add_(E.narrow(axis, 0, rest))
                total.narrow(axis, 0, rest).add_(E.narrow(axis, d, rest))
            E = total
        return E.mul_(self.weight_std**2 / self.filter_size**2).add_(self.bias_std**2)

    def _check(self, name: str, x: Tensor, like: Tensor | None = None) -> None:
        validate.nonempty(name, validate.inputs(name, x))
        if x.ndim != 4:
            raise ValueError(
                f"A convolutional kernel takes images (N, channels, height, width), got {tuple(x.shape)}."
            )
        if like is not None and (x.shape[1:] != like.shape[1:] or x.dtype != like.dtype):
            raise ValueError(
                f"x and x2 must be images of one size and dtype, got {tuple(like.shape)} {like.dtype} and "
                f"{tuple(x.shape)} {x.dtype}."
            )
        if x.shape[2] % self.pool or x.shape[3] % self.pool:
            raise ValueError(
                f"pool={self.pool} does not divide images of {x.shape[2]} x {x.shape[3]} pixels."
            )


def _from(size: int, offset: int) -> slice:
    """The places i of range(size) for which i - offset is one of them, too."""
    return slice(max(0, offset), size + min(0, offset))


def _windows(height: int, width: int, pool: int, device: torch.device) -> Tensor:
    """(H, W) the number of the pooling window that each pixel lies in."""
    down, right = (torch.arange(side, device=device) // pool for side in (height, width))
    return down[:, None] * width + right
