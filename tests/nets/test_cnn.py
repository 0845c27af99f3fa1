"""Convolutions against shifts of their images, and the sizes that no network can have."""

import pytest
import torch

import bdlcore as bdl
from bdlcore.nets.cnn import _belonging, average_pool


def test_circular_convolutions_shift_with_the_image():
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def maps(x, **options):
        network = bdl.nets.cnn((1, 8, 8), (3, 4), 0, **options)
        model = bdl.Model(network, bdl.GaussianPrior(1.0), bdl.Categorical())
        return network.feature_maps(model.sample_prior(3, 0, dtype=x.dtype).weights, x)

    def error(pixels, step, **options):
        moved = maps(x.roll(pixels, 3), **options)
        return (moved - maps(x, **options).roll(step, 4)).abs().max().item()

    assert maps(x).shape == (3, 2, 4, 2, 2)
    assert error(3, 3, padding="circular", pooling="none") < 1e-12
    assert error(3, 3, padding="zeros", pooling="none") > 1e-3
    for pooling in ("average", "max", "stride"):
        assert error(4, 1, padding="circular", pooling=pooling) < 1e-12
        assert error(1, 0, padding="circular", pooling=pooling) > 1e-3


def test_impossible_networks_are_refused():
    with pytest.raises(ValueError, match="Unknown activation 'step'"):
        bdl.nets.mlp(1, 2, activation="step")
    with pytest.raises(ValueError, match="at least an input and an output"):
        bdl.nets.mlp(3)
    with pytest.raises(ValueError, match="at least 16 pixels"):
        bdl.nets.cnn((1, 8, 8), (2, 2, 2, 2))
    with pytest.raises(ValueError, match="Unknown padding 'reflect'; choose one of zeros, circular"):
        bdl.nets.cnn(padding="reflect")
    with pytest.raises(ValueError, match="kernel must be odd"):
        bdl.nets.cnn(kernel=4)
    with pytest.raises(ValueError, match="sizes must be at least 1, got 0"):
        bdl.nets.mlp(1, 0, 1)
    with pytest.raises(ValueError, match="images of shape"):
        bdl.nets.cnn((1, 8, 8)).check_inputs(torch.zeros(2, 64))


@pytest.mark.parametrize("size", [(8, 8), (4, 4), (9, 8), (7, 13), (28, 28), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_average_pooling_is_pytorchs(size, dtype):
    h = torch.randn(5, 6, *size, dtype=dtype, generator=torch.Generator().manual_seed(0), requires_grad=True)
    want, found = torch.nn.functional.avg_pool2d(h, 2), average_pool(h)
    torch.testing.assert_close(found, want)
    g = torch.randn(want.shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(torch.autograd.grad(found, h, g), torch.autograd.grad(want, h, g))


def test_pooling_first_used_without_gradients_serves_with_them():
    _belonging.cache_clear()
    h = torch.randn(1, 1, 4, 4, requires_grad=True)
    with torch.inference_mode():
        average_pool(torch.zeros(1, 1, 4, 4))
    average_pool(h).sum().backward()
    assert torch.equal(h.grad, torch.full((1, 1, 4, 4), 0.25))
