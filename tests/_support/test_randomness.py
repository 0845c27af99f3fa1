"""Randomness against itself: rows, streams and seeds, and the global generator that it leaves alone."""

import pytest
import torch

from bdlcore._support.randomness import RowRandom, generator


def test_row_depends_on_seed_and_index_alone(model):
    whole = model.sample_prior(8, seed=3).theta
    torch.testing.assert_close(model.sample_prior(range(5, 7), seed=3).theta, whole[5:7], rtol=0, atol=0)
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, model.sample_prior(8, seed=4).theta)


def test_randomness_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    want = torch.randn(3)
    torch.manual_seed(0)
    RowRandom(1, range(4)).normal(10)
    torch.testing.assert_close(torch.randn(3), want, rtol=0, atol=0)


def test_streams_and_generators_as_seeds():
    a, b = RowRandom(1, range(2), stream=0).normal(5), RowRandom(1, range(2), stream=1).normal(5)
    assert not torch.equal(a, b)
    g1, g2 = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    torch.testing.assert_close(torch.rand(3, generator=generator(g1)), torch.rand(3, generator=generator(g2)))
    with pytest.raises(ValueError, match="non-negative integer"):
        generator(-1)
    with pytest.raises(ValueError, match="non-negative integer"):
        generator(0.5)
