"""Diagnostics of priors over functions, on draws whose amplitude, length scale and kurtosis are known."""

import pytest
import torch

import bdlcore as bdl
from bdlcore import prior_diagnostics


def line(n=2001, low=-20.0, high=20.0):
    return torch.linspace(low, high, n, dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_amplitude_is_that_of_each_input():
    f = randn(20_000, 3) * torch.tensor([0.5, 1.0, 2.0])
    torch.testing.assert_close(
        prior_diagnostics.amplitude(f), torch.tensor([0.5, 1.0, 2.0]).double(), rtol=0.02, atol=0
    )


def test_outputs_are_further_draws():
    f = randn(50, 4, 3)
    flat = f.permute(0, 2, 1).reshape(150, 4)
    for measure in (prior_diagnostics.amplitude, prior_diagnostics.kurtosis, prior_diagnostics.correlation):
        torch.testing.assert_close(measure(f), measure(flat))


def test_correlation_equals_numpy():
    f = randn(200, 5) @ randn(5, 5, seed=1)
    torch.testing.assert_close(prior_diagnostics.correlation(f, 2), torch.corrcoef(f.T)[2])


def test_length_scale_of_a_sine():
    x = line(4001, -20 * torch.pi, 20 * torch.pi)
    f = 3 + torch.sin(x / 0.5 + torch.tensor([[0.0], [1.0]]))
    assert prior_diagnostics.length_scale(f, x).item() == pytest.approx(0.5, rel=2e-3)


def test_length_scale_of_rbf_draws():
    x, length = line(600), 1.5
    K = bdl.RBF(length, 2.0)(x[:, None]) + 1e-8 * torch.eye(600)
    f = randn(400, 600) @ torch.linalg.cholesky(K).T
    assert prior_diagnostics.length_scale(f, x).item() == pytest.approx(length, rel=0.06)


def test_length_scale_does_not_depend_on_uneven_spacing():
    even = line(6001, 0, 2 * torch.pi)
    uneven = even**2 / (2 * torch.pi)
    wanted = prior_diagnostics.length_scale(torch.sin(even).expand(2, -1), even)
    torch.testing.assert_close(
        prior_diagnostics.length_scale(torch.sin(uneven).expand(2, -1), uneven), wanted, rtol=1e-4, atol=0
    )


def test_kurtosis():
    z = randn(200_000, 1)
    assert prior_diagnostics.kurtosis(z).item() == pytest.approx(3, abs=0.05)
    assert prior_diagnostics.kurtosis(z * randn(200_000, 1, seed=1)).item() == pytest.approx(9, rel=0.1)
    assert prior_diagnostics.kurtosis(z.sign()).item() == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: prior_diagnostics.amplitude(torch.ones(3)), "two or more draws"),
        (lambda: prior_diagnostics.kurtosis(torch.ones(1, 3)), "two or more draws"),
        (lambda: prior_diagnostics.correlation(torch.ones(4, 3)), "same value in every draw"),
        (lambda: prior_diagnostics.correlation(randn(4, 3), 3), "one of the 3 inputs"),
        (lambda: prior_diagnostics.length_scale(randn(4, 3), line(4)), "must hold the 3 inputs"),
        (lambda: prior_diagnostics.length_scale(randn(4, 3), line(3).flip(0)), "increasing"),
        (lambda: prior_diagnostics.amplitude(torch.full((2, 2), float("nan"))), "NaN"),
    ],
)
def test_bad_input(make, says):
    with pytest.raises(ValueError, match=says):
        make()
