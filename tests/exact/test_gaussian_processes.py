"""Gaussian processes against scikit-learn, dense formulas and Bayesian linear regression."""

import math

import numpy as np
import pytest
import torch

import bdlcore as bdl
from bdlcore.exact.gaussian_processes import KernelSpectrum, sample_gp_prior

NOISE_STD, STD, LENGTH = 0.3, 1.3, 0.7


def rbf(a, b):
    return STD**2 * torch.exp(-0.5 * torch.cdist(a, b).square() / LENGTH**2)


@pytest.fixture
def data():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(25, 2, generator=g, dtype=torch.float64)
    y = torch.stack([x[:, 0].sin(), x[:, 1].cos()], 1)
    return x, y + NOISE_STD * torch.randn(y.shape, generator=g, dtype=torch.float64)


@pytest.fixture
def x_test():
    return torch.randn(7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def peer(data):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel(STD**2) * RBF(LENGTH) + WhiteKernel(NOISE_STD**2)
    return GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(*(part.numpy() for part in data))


def test_evidence_is_scikit_learns(data, peer):
    gp = bdl.gaussian_process(rbf, *data, noise_std=NOISE_STD)
    assert gp.log_evidence.item() == pytest.approx(peer.log_marginal_likelihood_value_, rel=1e-10)
    each = [bdl.gaussian_process(rbf, data[0], y, noise_std=NOISE_STD).log_evidence for y in data[1].mT]
    torch.testing.assert_close(gp.log_evidence_per_output, torch.stack(each))


def test_predictive_is_scikit_learns(data, peer, x_test):
    gp = bdl.gaussian_process(rbf, *data, noise_std=NOISE_STD)
    predictive = gp.predict(x_test)
    mean, std = peer.predict(x_test.numpy(), return_std=True)  # with its white noise
    np.testing.assert_allclose(predictive.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(gp.mean(x_test), mean, rtol=1e-9)
    np.testing.assert_allclose(predictive.total_std, std, rtol=1e-9)
    y = torch.zeros(7, 2, dtype=torch.float64)
    log_prob = torch.distributions.Normal(torch.tensor(mean), torch.tensor(std)).log_prob(y).sum(1)
    torch.testing.assert_close(predictive.log_prob(y), log_prob)
    low, high = predictive.interval(0.95)
    torch.testing.assert_close((high - low) / 2, 1.959964 * torch.tensor(std), rtol=1e-6, atol=0)


def test_evidence_is_the_sum_of_one_step_ahead_predictions(data):
    x, y = data
    gp = bdl.gaussian_process(rbf, x, y, noise_std=NOISE_STD)
    for n in (1, 10, 24):
        before = bdl.gaussian_process(rbf, x[:n], y[:n], noise_std=NOISE_STD)
        torch.testing.assert_close(
            gp.log_conditionals[n], before.predict(x[n : n + 1]).log_prob(y[n : n + 1])[0]
        )
    torch.testing.assert_close(gp.log_conditionals.sum(), gp.log_evidence)


def test_linear_kernel_is_linear_regression(data, x_test):
    x, y = data[0], data[1][:, 0]
    exact = bdl.linear_regression(x, y, prior_std=STD, noise_std=NOISE_STD)
    gp = bdl.gaussian_process(lambda a, b: STD**2 * a @ b.mT, x, y, noise_std=NOISE_STD)
    assert gp.log_evidence.item() == pytest.approx(exact.log_evidence, rel=1e-10)
    predictive = gp.predict(x_test)
    torch.testing.assert_close(predictive.mean, exact.predict(x_test).mean)
    torch.testing.assert_close(predictive.epistemic_std, exact.predict(x_test).epistemic_std)


def test_spectrum_gives_the_evidence_of_every_scale_and_noise(data):
    x, y = data
    spectrum = KernelSpectrum.of(rbf, x)
    std = torch.tensor([0.5, 2.0], dtype=torch.float64)
    noise_std = torch.tensor([0.1, 0.4, 1.0], dtype=torch.float64)
    grid = spectrum.log_evidence(y, std=std[:, None], noise_std=noise_std)
    assert grid.shape == (2, 3)
    for i, s in enumerate(std):
        for j, noise in enumerate(noise_std):
            gp = bdl.gaussian_process(lambda a, b, s=s: s**2 * rbf(a, b), x, y, noise_std=noise)
            torch.testing.assert_close(grid[i, j], gp.log_evidence)
    torch.testing.assert_close(
        spectrum.log_evidence_per_output(y, std=std, noise_std=0.4).sum(-1), grid[:, 1]
    )


def test_evidence_is_differentiable(data):
    noise_std = torch.tensor(NOISE_STD, dtype=torch.float64, requires_grad=True)
    length = torch.tensor(LENGTH, dtype=torch.float64, requires_grad=True)

    def evidence(noise_std, length):
        def kernel(a, b):
            return torch.exp(-0.5 * (a[:, None] - b).square().sum(-1) / length**2)

        return bdl.gaussian_process(kernel, *data, noise_std=noise_std).log_evidence

    assert torch.autograd.gradcheck(evidence, (noise_std, length))


def test_draws_have_the_moments_of_the_posterior(data, x_test):
    gp = bdl.gaussian_process(rbf, *data, noise_std=NOISE_STD)
    draws = gp.functions(x_test, 20_000, seed=0)
    predictive = gp.predict(x_test)
    assert draws.shape == (20_000, 7, 2)
    torch.testing.assert_close(draws.mean(0), predictive.mean, rtol=0, atol=0.03)
    torch.testing.assert_close(draws.std(0), predictive.epistemic_std, rtol=0.03, atol=0.01)
    K, cross = rbf(x_test, x_test), rbf(x_test, data[0])
    A = rbf(data[0], data[0]) + NOISE_STD**2 * torch.eye(25)
    covariance = K - cross @ torch.linalg.solve(A, cross.mT)
    torch.testing.assert_close(draws[..., 0].mT.cov(), covariance, rtol=0, atol=0.05)


def test_prior_draws_have_the_kernel_as_covariance(x_test):
    draws = sample_gp_prior(rbf, x_test, 20_000, outputs=2, seed=0)
    assert draws.shape == (20_000, 7, 2)
    torch.testing.assert_close(draws[..., 1].mT.cov(), rbf(x_test, x_test), rtol=0, atol=0.06)
    torch.testing.assert_close(draws, sample_gp_prior(rbf, x_test, 20_000, outputs=2, seed=0))


def test_precomputed_matrix_by_row_numbers(data, x_test):
    x, y = data
    everything = torch.cat([x, x_test])
    K = rbf(everything, everything)
    rows, rows_test = torch.arange(25), torch.arange(25, 32)
    by_row = bdl.gaussian_process(lambda a, b: K[a][:, b], rows, y, noise_std=NOISE_STD)
    direct = bdl.gaussian_process(rbf, x, y, noise_std=NOISE_STD)
    torch.testing.assert_close(by_row.predict(rows_test).mean, direct.predict(x_test).mean)
    torch.testing.assert_close(by_row.predict(rows_test).epistemic_std, direct.predict(x_test).epistemic_std)


def test_noise_free_data_are_interpolated(data):
    gp = bdl.gaussian_process(rbf, *data, noise_std=0.0)
    torch.testing.assert_close(gp.predict(data[0]).mean, data[1], rtol=0, atol=1e-5)


def test_evidence_of_white_noise_targets():
    """With nothing but noise the evidence is that of independent standard normal numbers."""
    y = torch.tensor([1.0, -1.0, -1.0, 1.0])
    gp = bdl.gaussian_process(lambda a, b: (a == b.mT).double(), torch.arange(4.0)[:, None], y, noise_std=0.0)
    assert gp.log_evidence.item() / 4 == pytest.approx(-0.5 * math.log(2 * math.pi) - 0.5)


def test_float32_data_give_float64_evidence(data):
    x, y = (part.float() for part in data)
    gp = bdl.gaussian_process(rbf, x, y, noise_std=NOISE_STD)
    exact = bdl.gaussian_process(rbf, *data, noise_std=NOISE_STD)
    assert gp.log_evidence.dtype == torch.float64
    torch.testing.assert_close(gp.log_evidence, exact.log_evidence, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kernel": lambda a, b: torch.ones(len(a), len(b)), "noise_std": 0.0}, ValueError, "Add noise_std"),
        ({"kernel": lambda a, b: -rbf(a, b)}, ValueError, "not positive definite"),
        ({"kernel": lambda a, b: rbf(a, b)[0]}, ValueError, r"must give a tensor \(25, 25\)"),
        ({"kernel": lambda a, b: a @ b.flip(1).mT + a[:, :1]}, ValueError, "not symmetric"),
        ({"kernel": lambda a, b: rbf(a, b) / 0}, ValueError, "kernel matrix contains"),
        ({"y": torch.zeros(24)}, ValueError, r"y must have shape \(25,\)"),
        ({"y": torch.zeros(25, dtype=torch.long)}, TypeError, "floating-point"),
        ({"y": torch.full((25,), float("nan"))}, ValueError, "y contains 25 NaN"),
        ({"x": torch.full((25, 2), float("nan"))}, ValueError, "x contains 50 NaN"),
        ({"x": np.zeros((25, 2))}, TypeError, "x must be a torch.Tensor, got ndarray"),
        ({"x": [[0.0]] * 25}, TypeError, "x must be a torch.Tensor, got list"),
        ({"kernel": 1.0}, TypeError, "kernel must be a function"),
        ({"noise_std": torch.full((25,), 0.1)}, ValueError, r"noise_std must be one number, .* \(25,\)"),
        ({"noise_std": "0.1"}, TypeError, "noise_std must be a number"),
        ({"noise_std": -0.1}, ValueError, "standard deviation"),
        ({"x": torch.zeros(0, 2), "y": torch.zeros(0)}, ValueError, "at least one datum"),
    ],
)
def test_bad_input_is_refused(data, changes, error, message):
    arguments = {"kernel": rbf, "x": data[0], "y": data[1], "noise_std": NOISE_STD} | changes
    with pytest.raises(error, match=message):
        bdl.gaussian_process(
            arguments["kernel"], arguments["x"], arguments["y"], noise_std=arguments["noise_std"]
        )


def test_what_is_no_kernel_is_refused_by_spectrum_and_draws(data, x_test):
    with pytest.raises(ValueError, match="not positive semi-definite"):
        KernelSpectrum.of(lambda a, b: -rbf(a, b), data[0])
    with pytest.raises(ValueError, match="not positive semi-definite"):
        sample_gp_prior(lambda a, b: -rbf(a, b), x_test)
    spectrum = KernelSpectrum.of(lambda a, b: torch.ones(len(a), len(b)), data[0])
    with pytest.raises(ValueError, match="noise_std > 0"):
        spectrum.log_evidence(data[1], noise_std=0.0)


def test_targets_of_another_shape_are_refused_by_the_predictive(data, x_test):
    predictive = bdl.gaussian_process(rbf, *data, noise_std=NOISE_STD).predict(x_test)
    with pytest.raises(ValueError, match=r"y must have shape \(N, 2\)"):
        predictive.log_prob(torch.zeros(7))


def small_and_smooth(dtype):
    """Few data and long lengths: the posterior is a small difference of large numbers at many inputs."""
    x = torch.linspace(-2, 2, 5, dtype=dtype)[:, None]
    return x, x[:, 0].sin(), torch.linspace(-3, 3, 40, dtype=dtype)[:, None]


@pytest.mark.parametrize("length", [2.0, 3.0])
@pytest.mark.parametrize("noise_std", [0.01, 0.003])
def test_posterior_draws_survive_the_rounding_of_float32(length, noise_std):
    for dtype in (torch.float32, torch.float64):
        x, y, x_test = small_and_smooth(dtype)
        gp = bdl.gaussian_process(bdl.RBF(length, 1.5), x, y, noise_std=noise_std)
        assert gp.functions(x_test, 3).isfinite().all()


def test_posterior_draws_at_data_without_noise_are_the_data(data):
    gp = bdl.gaussian_process(bdl.RBF(LENGTH), *data, noise_std=0.0)
    torch.testing.assert_close(gp.functions(data[0], 3), data[1].expand(3, -1, -1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_no_kernel_is_refused_in_either_dtype(dtype):
    x, y, x_test = small_and_smooth(dtype)

    def wrong(a, b):  # a kernel at the data alone, too high between them and the rest
        return bdl.RBF(2.0)(a, b) * (1 if len(a) == len(b) else 1.05)

    with pytest.raises(ValueError, match="not positive semi-definite"):
        bdl.gaussian_process(wrong, x, y, noise_std=0.1).functions(x_test)


def test_an_overflowing_kernel_is_not_blamed_on_rows(data):
    x = 1e25 * data[0].float()
    for ask in (
        lambda: bdl.gaussian_process(bdl.LinearKernel(), x, data[1], noise_std=0.1),
        lambda: sample_gp_prior(bdl.LinearKernel(), x),
        lambda: KernelSpectrum.of(bdl.LinearKernel(), x),
    ):
        with pytest.raises(ValueError, match="leaves the range of torch.float32. Standardise x") as error:
            ask()
        assert "impute" not in str(error.value)


@pytest.mark.parametrize(
    "bad", [np.zeros((7, 2)), [[0.0, 0.0]], torch.zeros(0, 2), torch.full((7, 2), torch.nan)]
)
def test_bad_inputs_of_every_method_are_named(data, bad):
    gp = bdl.gaussian_process(rbf, *data, noise_std=NOISE_STD)
    asks = [
        gp.mean,
        gp.predict,
        gp.functions,
        lambda x: sample_gp_prior(rbf, x),
        lambda x: KernelSpectrum.of(rbf, x),
    ]
    for ask in asks:
        with pytest.raises((TypeError, ValueError), match="^x (must be a torch.Tensor|is empty|contains)"):
            ask(bad)


def test_bad_scales_of_the_evidence_are_named(data):
    spectrum = KernelSpectrum.of(rbf, data[0])
    for scales, message in [
        ({"noise_std": -1.0}, "standard deviations, not variances"),
        ({"noise_std": 1.0, "std": 0.0}, "standard deviations, not variances"),
        ({"noise_std": math.nan}, "noise_std contains"),
        ({"noise_std": 1.0, "std": "a"}, "std must be a number or a tensor"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            spectrum.log_evidence(data[1], **scales)
