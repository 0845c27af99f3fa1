"""Hessian and Gauss-Newton products, Lanczos and effective dimension, in float64 against dense algebra."""

import pytest
import torch

import bdlcore as bdl


def classifier(activation="tanh"):
    return bdl.Model(
        bdl.nets.mlp(2, 5, 3, activation=activation), bdl.GaussianPrior(1.3, fan_in=True), bdl.Categorical()
    )


@pytest.fixture
def problem():
    """A classifier, three rows of weights, and data, float64."""
    g = torch.Generator().manual_seed(0)
    model = classifier()
    x = torch.randn(11, 2, generator=g, dtype=torch.float64)
    y = torch.randint(3, (11,), generator=g)
    return model, model.sample_prior(3, seed=1, dtype=torch.float64), x, y


def test_hessian_against_autograd(problem):
    model, stack, x, y = problem
    got = bdl.curvature_matrix(model, stack, x, y)
    for matrix, theta in zip(got, stack.theta):
        want = torch.autograd.functional.hessian(lambda t: -model.log_likelihood(t[None], x, y)[0], theta)
        torch.testing.assert_close(matrix, want)
    assert torch.linalg.eigvalsh(got).amin() < -0.01, "this test could not tell H from G"


@pytest.mark.parametrize("likelihood", ["Gaussian", "Categorical"])
def test_ggn_against_jacobians(likelihood, problem, regression, model):
    if likelihood == "Categorical":
        model, stack, x, y = problem
    else:
        (x, y), stack = regression, model.sample_prior(3, seed=1, dtype=torch.float64)
    got = bdl.curvature_matrix(model, stack, x, y, "ggn")
    for matrix, theta in zip(got, stack.theta):
        f = model.forward(theta[None], x)[0]
        J = torch.autograd.functional.jacobian(lambda t: model.forward(t[None], x)[0], theta)
        p = f.softmax(-1)
        middle = p.diag_embed() - p[:, :, None] * p[:, None, :]
        if likelihood == "Gaussian":
            middle = torch.eye(2, dtype=torch.float64).expand(len(x), 2, 2) / 0.3**2
        torch.testing.assert_close(matrix, torch.einsum("ncd,nck,nke->de", J, middle, J))


def test_kinds_agree_where_the_network_is_linear():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(9, 4, generator=g, dtype=torch.float64)
    y = torch.randn(9, generator=g, dtype=torch.float64)
    model = bdl.Model(bdl.nets.mlp(4, 1), bdl.GaussianPrior(0.5), bdl.Gaussian(0.2))
    stack = model.sample_prior(2, seed=0, dtype=torch.float64)
    features = torch.cat([x, torch.ones(9, 1, dtype=torch.float64)], 1)
    want = (0.5 / 0.2) ** 2 * features.mT @ features
    for kind in ("hessian", "ggn"):
        for matrix in bdl.curvature_matrix(model, stack, x, y, kind):
            torch.testing.assert_close(matrix, want)


def test_products_are_those_with_the_matrix_and_need_no_row_to_know_another(problem):
    model, stack, x, y = problem
    v = torch.randn(stack.theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for kind in ("hessian", "ggn"):
        matrix = bdl.curvature_matrix(model, stack, x, y, kind)
        got = bdl.curvature_product(model, stack, x, y, kind)(v)
        torch.testing.assert_close(got, (matrix @ v[:, :, None])[..., 0])


def symmetric(S, D, seed=0):
    g = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(S, D, D, generator=g, dtype=torch.float64))[0]
    values = 2.0 ** -torch.arange(D, dtype=torch.float64) * torch.tensor([1.0, -1.0]).repeat(D)[:D]
    return Q @ values.diag_embed() @ Q.mT, torch.randn(S, D, generator=g, dtype=torch.float64)


def test_lanczos_finds_both_ends_of_the_spectrum():
    A, start = symmetric(3, 60)
    values, vectors = bdl.lanczos(lambda v: (A @ v[:, :, None])[..., 0], start, 20)
    want, _ = torch.linalg.eigh(A)
    torch.testing.assert_close(values[:, :4], want.flip(1)[:, :4], rtol=1e-8, atol=0)
    torch.testing.assert_close(values[:, -4:], want.flip(1)[:, -4:], rtol=1e-8, atol=0)
    top = vectors[:, 0]
    torch.testing.assert_close((A @ top[:, :, None])[..., 0], values[:, :1] * top)
    torch.testing.assert_close(vectors @ vectors.mT, torch.eye(20, dtype=torch.float64).expand(3, -1, -1))


def test_lanczos_goes_on_when_a_subspace_is_exhausted():
    A = torch.diag(torch.tensor([5.0, 5.0, 2.0, 0.0], dtype=torch.float64))[None].repeat(2, 1, 1)
    start = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    values, _ = bdl.lanczos(lambda v: (A @ v[:, :, None])[..., 0], start, 4)
    torch.testing.assert_close(values, torch.tensor([5.0, 5.0, 2.0, 0.0], dtype=torch.float64).expand(2, 4))


def test_all_lanczos_steps_give_the_dense_spectrum_and_few_its_top(problem):
    model, stack, x, y = problem
    for kind in ("hessian", "ggn"):
        dense = bdl.curvature_eigenvalues(model, stack, x, y, kind)
        every = bdl.curvature_eigenvalues(model, stack, x, y, kind, steps=model.layout.dim)
        torch.testing.assert_close(every, dense, rtol=0, atol=1e-9 * dense.abs().max().item())
        few = bdl.curvature_eigenvalues(model, stack, x, y, kind, steps=20)
        torch.testing.assert_close(few[:, :3], dense[:, :3], rtol=1e-6, atol=0)
        assert (dense[:, 0] > dense[:, -1]).all()
    torch.testing.assert_close(bdl.effective_dimension(every, 1.0), bdl.effective_dimension(dense, 1.0))


def test_effective_dimension_is_the_contraction_of_a_conjugate_posterior():
    g = torch.Generator().manual_seed(0)
    features = torch.randn(7, 12, generator=g, dtype=torch.float64)
    posterior = bdl.linear_regression(features, features[:, 0], prior_std=0.6, noise_std=0.4)
    whitened = (0.6 / 0.4) ** 2 * torch.linalg.eigvalsh(features.mT @ features)
    contraction = 12 - posterior.covariance.diagonal().sum() / 0.6**2
    torch.testing.assert_close(bdl.effective_dimension(whitened), contraction)


def test_estimated_effective_dimension_against_the_whole_spectrum(problem):
    model, stack, x, y = problem
    z = torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)
    dense = bdl.curvature_eigenvalues(model, stack, x, y, "ggn")
    want = bdl.effective_dimension(dense[:, None], z)
    got = bdl.estimate_effective_dimension(model, stack, x, y, z, probes=400, seed=0)
    shares = dense[:, None] / (dense[:, None] + z[:, None])
    standard_error = (2 * shares.square().sum(-1) / 400).sqrt()  # of a mean of v . shares v over normal v
    assert ((got - want).abs() < 5 * standard_error).all()
    assert (5 * standard_error < 0.5 * want).all(), "this test could not tell"
    one = bdl.estimate_effective_dimension(model, stack, x, y, 1.0, probes=400, seed=0)
    torch.testing.assert_close(one, got[:, 1])
    largest = bdl.effective_dimension(dense[:, :3], 0.01)
    assert (largest < 0.7 * want[:, 0]).all(), "this test could not tell it from a sum over few eigenvalues"


def test_effective_dimension_of_known_spectra():
    eigenvalues = torch.tensor([[4.0, 1.0, 0.0, -3.0], [1e12, 1e12, 1e12, 1e12]], dtype=torch.float64)
    want = torch.tensor([0.8 + 0.5, 4.0], dtype=torch.float64)
    torch.testing.assert_close(bdl.effective_dimension(eigenvalues, 1.0), want)
    z = torch.tensor([[1.0], [4.0]], dtype=torch.float64)  # several z for every row
    assert bdl.effective_dimension(eigenvalues, z).shape == (2, 2)
    assert bdl.effective_dimension(eigenvalues, z)[1, 0].item() == pytest.approx(0.5 + 0.2)


def test_bad_input_is_refused(problem):
    model, stack, x, y = problem
    product = bdl.curvature_product(model, stack, x, y)
    with pytest.raises(ValueError, match="kind must be one of 'hessian', 'ggn'"):
        bdl.curvature_product(model, stack, x, y, "fisher")
    with pytest.raises(ValueError, match="v must have shape"):
        product(stack.theta[:1])
    with pytest.raises(ValueError, match="steps must be at most"):
        bdl.lanczos(product, stack.theta, 1000)
    with pytest.raises(ValueError, match="not 0"):
        bdl.lanczos(product, torch.zeros_like(stack.theta), 2)
    with pytest.raises(ValueError, match="not finite in step 0"):
        bdl.lanczos(lambda v: v / 0, stack.theta, 2)
    with pytest.raises(ValueError, match="z must be positive"):
        bdl.effective_dimension(torch.ones(3), 0.0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        bdl.effective_dimension(torch.tensor([1.0, float("nan")]))
    with pytest.raises(ValueError, match="does not belong"):
        bdl.curvature_product(
            classifier("relu"),
            stack[:1].__class__(
                stack.theta[:, :-1], bdl.Layout(("a",), ((stack.theta.shape[1] - 1,),), (1.0,))
            ),
            x,
            y,
        )
