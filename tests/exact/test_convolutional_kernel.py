"""Convolutional kernels against brute force over all pairs of pixels, dense kernels and random networks."""

import itertools

import pytest
import torch
from torch import nn

import bdlcore as bdl
from bdlcore.exact.kernels import expected_product


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def brute_force(kernel, x, x2):
    """The covariance of all pairs of pixels of two images (C, H, W), by the definition."""
    _, H, W = x.shape
    act, r = kernel.activation, kernel.filter_size // 2
    pixels, steps = (
        list(itertools.product(range(H), range(W))),
        list(itertools.product(range(-r, r + 1), repeat=2)),
    )

    def convolve(E):
        K = {}
        for p, q in E:
            around = [((p[0] + i, p[1] + j), (q[0] + i, q[1] + j)) for i, j in steps]
            inside = sum(E.get(pair, 0.0) for pair in around)
            K[p, q] = kernel.bias_std**2 + kernel.weight_std**2 * inside / len(steps)
        return K

    E = {
        name: {(p, q): float(a[:, *p] @ b[:, *q]) / len(a) for p in pixels for q in pixels}
        for name, a, b in [("ab", x, x2), ("aa", x, x), ("bb", x2, x2)]
    }
    for _ in range(kernel.layers):
        K = {name: convolve(part) for name, part in E.items()}
        ends = {"ab": ("aa", "bb"), "aa": ("aa", "aa"), "bb": ("bb", "bb")}
        E = {
            name: {
                (p, q): float(
                    expected_product(
                        act,
                        *torch.tensor(
                            [value, K[ends[name][0]][p, p], K[ends[name][1]][q, q]], dtype=torch.float64
                        ),
                    )
                )
                for (p, q), value in part.items()
            }
            for name, part in K.items()
        }
    s = kernel.pool
    same = [E["ab"][p, q] for p, q in E["ab"] if (p[0] // s, p[1] // s) == (q[0] // s, q[1] // s)]
    return kernel.bias_std**2 + kernel.weight_std**2 * sum(same) / (H * W * s**2)


@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("filter_size", [1, 3, 5])
def test_convolutional_kernel_by_brute_force(pool, filter_size):
    x = randn(2, 2, 4, 4)
    kernel = bdl.ConvolutionalKernel(2, pool, filter_size, "relu", 1.3, 0.2)
    assert kernel(x)[0, 1].item() == pytest.approx(brute_force(kernel, x[0], x[1]), rel=1e-10)


def test_convolutional_kernel_of_images_that_are_not_square():
    x = randn(2, 1, 2, 6)
    kernel = bdl.ConvolutionalKernel(2, 2, 3, "erf", 1.3, 0.2)
    assert kernel(x)[0, 1].item() == pytest.approx(brute_force(kernel, x[0], x[1]), rel=1e-10)


def test_convolution_of_one_pixel_is_dense():
    x = randn(5, 3)
    kernel = bdl.ConvolutionalKernel(2, 1, 1, "relu", 1.3, 0.2)
    torch.testing.assert_close(kernel(x[:, :, None, None]), bdl.NetworkKernel(2, "relu", 1.3, 0.2)(x))


@pytest.mark.parametrize("pool", [1, 2, 4])
def test_convolutional_kernel_equals_wide_random_networks(pool):
    x, channels = randn(4, 2, 4, 4), 60
    network = nn.Sequential(
        nn.Conv2d(2, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(pool),
        nn.Flatten(),
        nn.Linear(channels * (4 // pool) ** 2, 50),
    )
    model = bdl.Model(network, bdl.GaussianPrior(1.4, 0.5, fan_in=True), bdl.Gaussian(1.0))
    found = bdl.monte_carlo_kernel(model, x, samples=500, seed=0)
    want = bdl.ConvolutionalKernel(2, pool, weight_std=1.4, bias_std=0.5)(x)
    torch.testing.assert_close(found, want, atol=0.06 * want.max().item(), rtol=0.0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: bdl.ConvolutionalKernel(filter_size=4), "must be odd"),
        (lambda: bdl.ConvolutionalKernel(layers=0), "layers must be at least 1"),
        (lambda: bdl.ConvolutionalKernel()(torch.ones(3, 64)), "takes images"),
        (lambda: bdl.ConvolutionalKernel(pool=3)(torch.ones(3, 1, 8, 8)), "does not divide"),
        (
            lambda: bdl.ConvolutionalKernel()(torch.ones(3, 1, 8, 8), torch.ones(3, 1, 4, 4)),
            "images of one size",
        ),
    ],
)
def test_bad_input(make, says):
    with pytest.raises(ValueError, match=says):
        make()
