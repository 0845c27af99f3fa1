"""Kernels: closed forms against quadrature, scikit-learn and random networks."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import bdlcore as bdl
from bdlcore.exact.kernels import expected_product, expected_square

ACTIVATIONS = {"relu": torch.relu, "erf": torch.erf}


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def prior_model(network, weight_std, bias_std):
    return bdl.Model(network, bdl.GaussianPrior(weight_std, bias_std, fan_in=True), bdl.Gaussian(1.0))


def test_rbf_equals_scikit_learn():
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    x, x2 = randn(6, 3), randn(4, 3, seed=1)
    reference = ConstantKernel(1.7**2) * RBF(0.8)
    kernel = bdl.RBF(length_scale=0.8, std=1.7)
    np.testing.assert_allclose(kernel(x, x2), reference(x.numpy(), x2.numpy()), rtol=1e-12)
    np.testing.assert_allclose(kernel(x), reference(x.numpy()), rtol=1e-12)


def test_linear_is_the_covariance_of_linear_functions():
    x, x2 = randn(5, 3), randn(4, 3, seed=1)
    lift = [torch.cat([part, torch.ones(len(part), 1).double()], 1) for part in (x, x2)]  # f = lift w
    prior = torch.diag(torch.tensor([0.7, 0.7, 0.7, 1.3], dtype=torch.float64) ** 2)
    torch.testing.assert_close(bdl.LinearKernel(0.7, 1.3)(x, x2), lift[0] @ prior @ lift[1].T)


def test_network_without_hidden_layers_is_linear():
    x = randn(5, 3)
    torch.testing.assert_close(
        bdl.NetworkKernel(0, "relu", 0.9, 0.4)(x), bdl.LinearKernel(0.9 / 3**0.5, 0.4)(x)
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("correlation", [-1.0, -0.7, 0.0, 0.4, 1.0])
def test_expected_product_by_quadrature(activation, correlation):
    act, std, std2 = ACTIVATIONS[activation], 1.3, 0.6
    nodes = torch.linspace(-9, 9, 3001, dtype=torch.float64)
    weight = torch.exp(-0.5 * nodes**2)
    weight = weight / weight.sum()
    u, z = std * nodes[:, None], nodes[None, :]
    v = std2 * (correlation * nodes[:, None] + math.sqrt(1 - correlation**2) * z)
    want = (weight[:, None] * weight * act(u) * act(v)).sum()
    covariance, variances = correlation * std * std2, torch.tensor([std**2, std2**2], dtype=torch.float64)
    got = expected_product(activation, torch.tensor(covariance).double(), *variances)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        expected_square(activation, variances), expected_product(activation, variances, variances, variances)
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layers", [1, 3])
def test_network_kernel_equals_wide_random_networks(activation, layers):
    x, width = randn(6, 4), 150
    network = bdl.nets.mlp(4, *[width] * layers, 100, activation=activation)
    found = bdl.monte_carlo_kernel(prior_model(network, 1.5, 0.4), x, samples=600, seed=0)
    torch.testing.assert_close(
        bdl.NetworkKernel(layers, activation, 1.5, 0.4)(x), found, atol=0.06, rtol=0.03
    )


def test_relu_kernel_is_homogeneous_and_keeps_its_variance():
    x, kernel = randn(5, 3), bdl.NetworkKernel(4, "relu", math.sqrt(2.0))
    torch.testing.assert_close(kernel(3 * x), 9 * kernel(x))
    torch.testing.assert_close(kernel(x).diagonal(), 2 * x.square().mean(1))


KERNELS = [
    bdl.RBF(0.7, 1.2),
    bdl.LinearKernel(0.5, 0.3),
    bdl.NetworkKernel(2, "relu", 1.3, 0.2),
    bdl.NetworkKernel(2, "erf", 1.3, 0.2),
    bdl.ConvolutionalKernel(2, 1, weight_std=1.3, bias_std=0.2),
    bdl.ConvolutionalKernel(2, 2, weight_std=1.3, bias_std=0.2),
    bdl.ConvolutionalKernel(1, 4, activation="erf"),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_kernel_matrices(kernel):
    x = randn(7, 2, 4, 4)
    K = kernel(x)
    torch.testing.assert_close(K, K.T)
    assert torch.linalg.eigvalsh(K).min() > -1e-9 * K.max()
    torch.testing.assert_close(kernel(x[:3], x[2:]), K[:3, 2:])
    single = kernel(x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), K, rtol=1e-3, atol=1e-3)
    assert kernel(torch.zeros_like(x)).isfinite().all()


def test_monte_carlo_kernel_is_exact_for_linear_networks_at_any_width():
    """Products of Gaussian matrices have the covariance of the wide limit whatever the width."""
    x, x2 = randn(4, 3), randn(2, 3, seed=1)
    network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 40))
    found = bdl.monte_carlo_kernel(prior_model(network, 1.2, 0.5), x, samples=20_000, seed=0, x2=x2)
    hidden = 0.25 + 1.44 * x @ x2.T / 3
    torch.testing.assert_close(found, 0.25 + 1.44 * hidden, atol=0.05, rtol=0.02)


def test_monte_carlo_kernel_is_the_mean_of_products():
    x, model = randn(4, 3), prior_model(bdl.nets.mlp(3, 5, 2), 1.0, 0.3)
    f = model.functions(model.sample_prior(30, 0, dtype=x.dtype), x)
    want = torch.einsum("snc,smc->nm", f, f) / 60
    torch.testing.assert_close(bdl.monte_carlo_kernel(model, x, 30, 0), want)
    torch.testing.assert_close(bdl.monte_carlo_kernel(model, x[:1], 30, 0, x[1:]), want[:1, 1:])


def test_many_random_networks_are_drawn_in_chunks(monkeypatch):
    x, model = randn(4, 3), prior_model(bdl.nets.mlp(3, 5, 2), 1.0, 0.3)
    whole = bdl.monte_carlo_kernel(model, x, 30, 0)
    monkeypatch.setattr(model, "chunk_size", lambda x: 7)
    torch.testing.assert_close(bdl.monte_carlo_kernel(model, x, 30, 0), whole)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: bdl.RBF(0.0), "length_scale must be positive"),
        (lambda: bdl.RBF(std=-1.0), "std must be positive"),
        (lambda: bdl.LinearKernel(bias_std=-0.1), "bias_std must be at least 0"),
        (lambda: bdl.RBF()(torch.ones(3, 0)), "x is empty"),
        (lambda: bdl.NetworkKernel()(torch.ones(3, 1), torch.ones(3, 0)), "x2 is empty"),
        (lambda: bdl.NetworkKernel(-1), "hidden_layers must be at least 0"),
        (lambda: bdl.NetworkKernel(activation="tanh"), "monte_carlo_kernel"),
        (lambda: bdl.RBF()(torch.ones(3)), r"must have shape \(N, D\)"),
        (lambda: bdl.RBF()(torch.ones(3, 2), torch.ones(3, 1)), "as many features"),
        (lambda: bdl.RBF()(torch.tensor([[float("nan")]])), "NaN"),
    ],
)
def test_bad_input(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# --- one number, or one for each feature ---


def test_rbf_with_a_length_for_each_feature():
    lengths = torch.tensor([1.0, 10.0])
    for rows in (2, 5):
        x, x2 = randn(rows, 2), randn(3, 2, seed=1)
        K = bdl.RBF(lengths, 1.7)(x)
        torch.testing.assert_close(K, K.T, rtol=0, atol=0)
        squared = ((x[:, None] - x2) / lengths).square().sum(-1)
        torch.testing.assert_close(bdl.RBF(lengths, 1.7)(x, x2), 1.7**2 * torch.exp(-0.5 * squared))
    assert bdl.RBF(lengths.double())(x.float()).dtype == torch.float32
    torch.testing.assert_close(bdl.RBF(torch.tensor(0.7))(x), bdl.RBF(0.7)(x))
    lengths = lengths.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda lengths: bdl.RBF(lengths)(x), (lengths,))


@pytest.mark.parametrize(
    "lengths", [torch.ones(3), torch.ones(1), torch.ones(2, 1), torch.ones(2, 2)], ids=str
)
def test_other_shapes_of_lengths_are_refused(lengths):
    with pytest.raises(ValueError, match="length_scale must be a number or have one length per feature"):
        bdl.RBF(lengths)(randn(2, 2))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (bdl.RBF, "std"),
        *((kind, f"{part}_std") for kind in (bdl.LinearKernel, bdl.NetworkKernel, bdl.ConvolutionalKernel)
          for part in ("weight", "bias")),
    ],
)  # fmt: skip
def test_other_parameters_are_one_number(kind, name):
    with pytest.raises(ValueError, match=rf"{name} must be one number, got a tensor of shape \(2,\)"):
        kind(**{name: torch.ones(2)})
    with pytest.raises(TypeError, match=f"{name} must be a number"):
        kind(**{name: [1.0]})
    kind(**{name: torch.tensor(0.5, requires_grad=True)})


# --- derivatives ---

SHARP = [
    *(bdl.NetworkKernel(2, act, 1.3, b) for act in ACTIVATIONS for b in (0.0, 0.3)),
    *(bdl.ConvolutionalKernel(2, 2, activation=act, bias_std=b) for act in ACTIVATIONS for b in (0.0, 0.3)),
]


@pytest.mark.parametrize("kernel", SHARP, ids=str)
def test_gradients_at_equal_and_parallel_inputs(kernel):
    x = randn(4, 1, 2, 2)
    x[1], x[2] = x[0], 2 * x[0]
    # differentiable once only there, so that finite differences are of their step's size off
    assert torch.autograd.gradcheck(kernel, (x.requires_grad_(),), atol=1e-5)


@pytest.mark.parametrize("kernel", SHARP, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_at_zeros(kernel, dtype):
    x = randn(4, 1, 2, 2).to(dtype)
    x[:2], x[3] = 0, x[2]
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(kernel(x).sum(), x)
    assert gradient.isfinite().all() and gradient[2].abs().max() > 0


@pytest.mark.parametrize("kernel", [bdl.NetworkKernel, bdl.ConvolutionalKernel])
def test_gradients_in_the_scales(kernel):
    x = randn(4, 1, 2, 2)
    x[0], x[1] = 0, x[2]
    scales = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.2, 0.1)]
    for act in ACTIVATIONS:
        assert torch.autograd.gradcheck(
            lambda a, b, act=act: kernel(2, activation=act, weight_std=a, bias_std=b)(x), scales
        )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shapes", [((4, 3), (4, 1), (3,)), ((), (), ()), ((3,), (2, 1), ())], ids=str)
def test_expected_product_is_differentiable_in_every_argument_and_twice(activation, shapes):
    g = torch.Generator().manual_seed(0)
    moments = [
        torch.rand(shape, dtype=torch.float64, generator=g) + 1.5 * (i > 0) for i, shape in enumerate(shapes)
    ]
    for moment in moments:
        moment.requires_grad_()
    check = lambda *moments: expected_product(activation, *moments)  # noqa: E731
    assert torch.autograd.gradcheck(check, moments) and torch.autograd.gradgradcheck(check, moments)


@pytest.mark.parametrize("size", [1e6, 1e9, 1e15])
def test_gradients_of_erf_are_finite_where_its_correlation_rounds_to_one(size):
    x = torch.full((3, 2), size, requires_grad=True)
    kernel = bdl.NetworkKernel(2, "erf", 1.3, 0.1)
    (gradient,) = torch.autograd.grad(kernel(x).sum(), x)
    assert gradient.isfinite().all() and kernel(x).isfinite().all()


@pytest.mark.parametrize("bad", [np.zeros((3, 2)), [[0.0]], torch.zeros(3, 2).int(), torch.zeros(0, 2)])
def test_inputs_of_random_networks_are_checked(bad):
    model, good = prior_model(bdl.nets.mlp(2, 5, 2), 1.0, 0.3), torch.zeros(3, 2)
    for name, inputs in (("x", (bad, None)), ("x2", (good, bad))):
        with pytest.raises((TypeError, ValueError), match=f"^{name} (must|is empty)"):
            bdl.monte_carlo_kernel(model, inputs[0], 3, 0, inputs[1])


@pytest.mark.parametrize("kernel", [bdl.NetworkKernel(), bdl.ConvolutionalKernel(filter_size=1)], ids=str)
def test_gradients_where_the_cosine_is_one_without_rounding(kernel):
    """Of ReLU there k(x, x) = x.x / 2 D, and so is k(x, x2) to first order in x2 - x, up to the product."""
    x = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
    x[:, 0, 0, 0] = 2.0  # equal rows whose norms are whole numbers
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(kernel(x)[0, 1], x)
    torch.testing.assert_close(gradient, x.detach().flip(0) / 8)
