"""Fits of the deep image prior that are small enough for a test."""

import torch

import bdlcore as bdl

SIZE = (1, 8, 8)


def uniform(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network(image=SIZE):
    return bdl.nets.hourglass(image, (3,), skip=1, inputs=2)


def fit(observed, **options):
    """A short fit that keeps every picture."""
    settings = {"steps": 8, "frames": 1000, "network": network()} | options
    return bdl.deep_image_prior(observed, **settings)
