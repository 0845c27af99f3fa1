"""Laplace's approximation against closed forms, dense matrices from naive Jacobians, and quadrature."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bdlcore as bdl
from bdlcore import modes as modes_module
from bdlcore.curvature import Full, likelihood_root
from bdlcore.jacobians import Jacobian, find_blocks, last_layer
from bdlcore.kronecker import Kronecker
from bdlcore.randomness import RowRandom

PRIOR_STD, NOISE_STD = 0.8, 0.5
STRUCTURES = ("full", "kron", "diagonal", "last_layer")


@pytest.fixture
def linear():
    """Linear regression twice: as a network model, and as features (x, 1) for the closed form."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(15, 2, generator=g, dtype=torch.float64)
    y = x @ torch.tensor([1.0, -0.5], dtype=torch.float64) + 0.3 + NOISE_STD * torch.randn(15, generator=g)
    model = bdl.Model(bdl.nets.mlp(2, 1), bdl.GaussianPrior(PRIOR_STD), bdl.Gaussian(NOISE_STD))
    features = torch.cat([x, torch.ones(15, 1, dtype=torch.float64)], 1)
    return model, x, y, features


@pytest.fixture
def classes():
    """A small classifier of three classes and 20 points, with whitened weights to look at."""
    g = torch.Generator().manual_seed(1)
    x = torch.randn(20, 2, generator=g, dtype=torch.float64)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()
    model = bdl.Model(bdl.nets.mlp(2, 6, 3), bdl.GaussianPrior(1.5, bias_std=0.7), bdl.Categorical())
    return model, x, y, model.sample_prior(2, seed=0, dtype=x.dtype)


def naive_jacobian(model, theta, x):
    """(N, C, D) by one backward pass per datum and output."""
    theta = theta.clone().requires_grad_()
    rows = []
    for datum in x:
        f = model.forward(theta[None], datum[None])[0, 0]
        rows.append(torch.stack([torch.autograd.grad(value, theta, retain_graph=True)[0] for value in f]))
    return torch.stack(rows)


def dense_ggn(model, theta, x, y):
    """sum_n J^T Lambda J with Lambda by automatic differentiation of the log likelihood."""
    J, total = naive_jacobian(model, theta, x), 0
    f = model.forward(theta[None], x)[0]
    for n in range(len(x)):
        minus_log_p = lambda value, n=n: -model.likelihood.log_prob(value[None], y[n : n + 1])[0]  # noqa: E731
        total = total + J[n].mT @ torch.autograd.functional.hessian(minus_log_p, f[n]) @ J[n]
    return total


def off_mode(*arguments, **settings):
    """laplace at weights that are no mode, which it warns about."""
    with pytest.warns(UserWarning, match="not at a mode"):
        return bdl.laplace(*arguments, **settings)


# --- exact cases ---


@pytest.mark.parametrize("structure", ["full", "kron", "last_layer"])
@pytest.mark.parametrize("name", ["temperature", "likelihood_temperature"])
@pytest.mark.parametrize("T", [0.1, 0.5, 1.0, 2.0])
def test_linear_regression_is_exact(linear, structure, name, T):
    model, x, y, features = linear
    want = bdl.linear_regression(features, y, prior_std=PRIOR_STD, noise_std=NOISE_STD, **{name: T})
    mode = bdl.Stack(want.mean[None] / PRIOR_STD, model.layout)
    posterior = bdl.laplace(model, x, y, structure=structure, modes=mode, **{name: T})
    assert posterior.excess.item() < 1e-12
    predictive, exact = posterior.predict(x), want.predict(features)
    torch.testing.assert_close(predictive.mean[:, 0], exact.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(predictive.epistemic_std[:, 0], exact.epistemic_std)
    torch.testing.assert_close(predictive.total_std[:, 0], exact.total_std)
    torch.testing.assert_close(predictive.log_prob(y), exact.log_prob(y), rtol=1e-6, atol=1e-6)
    low, high = predictive.interval(0.9)
    torch.testing.assert_close(torch.cat([low, high], 1), torch.stack(exact.interval(0.9), 1))
    drawn = posterior.sample(4_000, seed=1).weights.mT.cov()
    scale = torch.outer(exact_std := want.covariance.diagonal().sqrt(), exact_std)
    assert ((drawn - want.covariance) / scale).abs().max() < 5 * math.sqrt(2 / 4_000)
    if T == 1:
        assert posterior.log_marginal_likelihood().item() == pytest.approx(want.log_evidence, rel=1e-9)
    else:
        with pytest.raises(ValueError, match="no marginal likelihood"):
            posterior.log_marginal_likelihood()


def test_gradient_of_the_evidence_is_exact_for_linear_regression(linear):
    """Where the weights maximise the posterior, their dependence on prior and noise does not enter."""
    model, x, y, features = linear
    posterior = bdl.laplace(model, x, y, steps=300, lr=0.05)
    prior_std = torch.tensor(PRIOR_STD, dtype=torch.float64, requires_grad=True)
    noise_std = torch.tensor(NOISE_STD, dtype=torch.float64, requires_grad=True)
    evidence = posterior.log_marginal_likelihood(prior_std, noise_std)
    slopes = torch.autograd.grad(evidence.sum(), (prior_std, noise_std))

    def exact(prior_std, noise_std):
        return bdl.linear_regression(features, y, prior_std=prior_std, noise_std=noise_std).log_evidence

    assert evidence.item() == pytest.approx(exact(PRIOR_STD, NOISE_STD), rel=1e-9)
    h = 1e-5
    wide = (exact(PRIOR_STD + h, NOISE_STD) - exact(PRIOR_STD - h, NOISE_STD)) / (2 * h)
    noisy = (exact(PRIOR_STD, NOISE_STD + h) - exact(PRIOR_STD, NOISE_STD - h)) / (2 * h)
    torch.testing.assert_close(
        torch.stack(slopes), torch.tensor([wide, noisy]).double(), rtol=1e-5, atol=1e-6
    )


def test_last_layer_is_linear_regression_on_its_features():
    x, y = bdl.data.two_clusters(30)
    x, y = x.double(), y.double()
    model = bdl.Model(bdl.nets.mlp(1, 8, 1), bdl.GaussianPrior(PRIOR_STD), bdl.Gaussian(0.2))
    posterior = bdl.laplace(model, x, y, structure="last_layer", steps=300)
    weights = posterior.modes.named()

    def features(x):
        hidden = torch.tanh(F.linear(x, weights["layers.0.weight"][0], weights["layers.0.bias"][0]))
        return torch.cat([hidden, torch.ones(len(x), 1, dtype=x.dtype)], 1)

    want = bdl.linear_regression(features(x), y, prior_std=PRIOR_STD, noise_std=0.2)
    assert posterior.log_marginal_likelihood().item() == pytest.approx(want.log_evidence, rel=1e-6)
    grid = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    exact, predictive = want.predict(features(grid)), posterior.predict(grid)
    torch.testing.assert_close(predictive.epistemic_std[:, 0], exact.epistemic_std)
    torch.testing.assert_close(predictive.mean[:, 0], exact.mean, rtol=1e-4, atol=1e-4)
    # the network is linear in these weights, so that sampling them is exact too
    draws = posterior.sample(10, seed=3)
    torch.testing.assert_close(model.functions(draws, grid), posterior.functions(grid, 10, seed=3))
    assert (draws.theta[:, :16] == posterior.modes.theta[:, :16]).all()


def test_evidence_of_logistic_regression_against_quadrature():
    """Two logits w_c x + b_c matter through their difference only, which is N(0, 2 prior_std^2) a priori."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 1, generator=g, dtype=torch.float64)
    y = (torch.rand(40, generator=g) < torch.sigmoid(1.5 * x[:, 0] - 0.5)).long()
    model = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(1.5), bdl.Categorical())
    posterior = bdl.laplace(model, x, y, steps=300, lr=0.05)
    side = torch.linspace(-8, 8, 401, dtype=torch.float64) * math.sqrt(2) * 1.5
    slope, offset = torch.meshgrid(side, side, indexing="ij")
    logit = slope[..., None] * x[:, 0] + offset[..., None]
    log_p = -F.softplus(torch.where(y == 1, -logit, logit)).sum(-1)
    prior = torch.distributions.Normal(torch.zeros((), dtype=x.dtype), math.sqrt(2) * 1.5)
    log_p = log_p + prior.log_prob(slope) + prior.log_prob(offset)
    exact = log_p.flatten().logsumexp(0) + 2 * (side[1] - side[0]).log()
    # the error of Laplace's approximation is O(1/N), and here that of a skewed two-dimensional posterior
    assert posterior.log_marginal_likelihood().item() == pytest.approx(exact.item(), abs=0.1)
    assert abs(posterior.log_marginal_likelihood().item() - exact.item()) > 1e-4, "this test could not tell"


# --- Jacobians ---


class Scaled(nn.Module):
    """Weights outside of layers, and normalisation: only torch.func can differentiate it datum by datum."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)
        self.temperature = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.last(torch.tanh(self.norm(self.first(x)))) * self.temperature.exp()


class Tied(nn.Module):
    """One weight matrix as a layer and, transposed, as a function."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(3, 2)

    def forward(self, x):
        return F.linear(torch.tanh(self.encode(x)), self.encode.weight.T)


class Repeated(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x)))


class Sequence(nn.Module):
    """One dense layer at several positions of a datum."""

    def __init__(self):
        super().__init__()
        self.embed, self.last = nn.Linear(1, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.embed(x[..., None])).mean(1))


class DataSecond(Sequence):
    """The same with positions before data inside, as some recurrent networks have it."""

    def forward(self, x):
        return self.last(torch.tanh(self.embed(x.T[..., None])).mean(0))


def convolutions():
    return nn.Sequential(
        nn.Conv2d(1, 2, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), bias=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(2, 3, 2),
        nn.Tanh(),
        nn.Flatten(),
        nn.LazyLinear(2),
    )


NETWORKS = {
    "linear": (lambda: nn.Linear(3, 2), (3,), True),
    "mlp": (lambda: bdl.nets.mlp(3, 5, 4, 2, activation="silu"), (3,), True),
    "cnn": (lambda: bdl.nets.cnn((1, 6, 6), channels=(2,), hidden=3, outputs=2), (1, 6, 6), True),
    "convolutions": (convolutions, (1, 6, 6), True),
    "in place": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), (3,), True),
    "sequence": (Sequence, (3,), True),
    "no layers": (Scaled, (3,), False),
    "tied": (Tied, (3,), False),
    "repeated": (Repeated, (3,), False),
    "data second": (DataSecond, (3,), False),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(2, 2, 2, groups=2), nn.Flatten()), (2, 2, 2), False),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_jacobians_of_any_module(name):
    make, shape, layered = NETWORKS[name]
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = make().double()
    network(x)  # gives lazy layers their shapes
    model = bdl.Model(network, bdl.GaussianPrior(1.3, bias_std=0.6), bdl.Gaussian(1.0))
    theta = model.sample_prior(1, seed=0, dtype=x.dtype).theta[0]
    jacobian = Jacobian(model, model.layout.names, theta, x)
    assert (jacobian.blocks is not None) == layered, jacobian.obstacle
    f, J = jacobian(theta, x)
    assert J.shape == (3, f.shape[1], model.layout.dim)
    torch.testing.assert_close(f, model.forward(theta[None], x)[0])
    torch.testing.assert_close(J, naive_jacobian(model, theta, x))
    some = model.layout.names[-1:]
    part = Jacobian(model, some, theta, x)
    torch.testing.assert_close(part(theta, x)[1], J[..., part.columns])
    if not layered:
        y = torch.zeros(3, f.shape[1], dtype=x.dtype)
        with pytest.raises(ValueError, match="structure='kron' needs a network whose weights all belong"):
            bdl.laplace(model, x, y, structure="kron")


def test_chunks_of_data_change_nothing(classes, monkeypatch):
    model, x, y, modes = classes
    for structure in STRUCTURES:
        whole = off_mode(model, x, y, structure=structure, modes=modes)
        with monkeypatch.context() as patch:
            patch.setattr("bdlcore.jacobians._CHUNK", 300)
            patch.setattr("bdlcore.kronecker._CHUNK", 300)
            patch.setattr("bdlcore.linearised._CHUNK", 3000)
            parts = off_mode(model, x, y, structure=structure, modes=modes)
            torch.testing.assert_close(parts.log_marginal_likelihood(), whole.log_marginal_likelihood())
            probabilities = parts.predict(x).probabilities
        torch.testing.assert_close(probabilities, whole.predict(x).probabilities)


def test_the_last_layer_is_the_one_called_last():
    class Unordered(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body = nn.Linear(4, 1), nn.Linear(2, 4)

        def forward(self, x):
            return self.head(self.body(x).relu())

    model = bdl.Model(Unordered(), bdl.GaussianPrior(), bdl.Gaussian(1.0))
    theta = model.sample_prior(1, seed=0).theta[0]
    assert last_layer(model, theta, torch.ones(1, 2)) == ("head.weight", "head.bias")


# --- curvature ---


@pytest.mark.parametrize("kind", ["regression", "classes"])
@pytest.mark.parametrize("copies", [1, 3])
def test_full_curvature_against_the_dense_matrix(kind, copies, model, regression, classes):
    """Once with fewer outputs on the data than weights, and once with more: two forms of the same."""
    if kind == "classes":
        model, x, y, stack = classes
        x, y = (x, y) if copies == 3 else (x[:5], y[:5])
    else:
        (x, y), stack = regression, model.sample_prior(2, seed=0, dtype=torch.float64)
    x = x.repeat(copies, 1) + torch.arange(copies * len(x))[:, None] / 100
    y = y.repeat(copies, *[1] * (y.ndim - 1))
    posterior = off_mode(model, x, y, modes=stack)
    assert posterior.curvatures[0].dual == (copies == 1)
    D = model.layout.dim
    eye = torch.eye(D, dtype=x.dtype)
    for mode, theta in enumerate(stack.theta):
        G = dense_ggn(model, theta, x, y)
        curvature = posterior.curvatures[mode]
        scale = torch.rand(len(model.layout.names), generator=torch.Generator().manual_seed(0)).double() + 0.5
        R = scale.repeat_interleave(torch.tensor(model.layout.sizes)).diag()
        torch.testing.assert_close(curvature.log_det(), torch.logdet(eye + G))
        torch.testing.assert_close(curvature.log_det(scale[0]), torch.logdet(eye + scale[0] ** 2 * G))
        torch.testing.assert_close(curvature.log_det(scale), torch.logdet(eye + R @ G @ R))
        J = naive_jacobian(model, theta, x[:3])
        torch.testing.assert_close(curvature.covariance(J), J @ torch.linalg.inv(eye + G) @ J.mT)
    draws = posterior.sample(4_000, seed=2).theta[:4_000] - stack.theta[0]
    want = torch.linalg.inv(eye + dense_ggn(model, stack.theta[0], x, y))
    std = want.diagonal().sqrt()
    assert ((draws.mT.cov() - want) / torch.outer(std, std)).abs().max() < 6 * math.sqrt(2 / 4_000)
    assert (draws.mean(0) / std).abs().max() < 5 / math.sqrt(4_000)


def test_diagonal_curvature(classes):
    model, x, y, stack = classes
    posterior = off_mode(model, x, y, modes=stack, structure="diagonal")
    diagonal = dense_ggn(model, stack.theta[0], x, y).diagonal()
    torch.testing.assert_close(posterior.curvatures[0].diagonal, diagonal)
    J = naive_jacobian(model, stack.theta[0], x)
    torch.testing.assert_close(posterior.curvatures[0].covariance(J), J @ (1 / (1 + diagonal)).diag() @ J.mT)
    scale = torch.linspace(0.5, 2, 4, dtype=x.dtype)
    want = torch.log1p(scale.repeat_interleave(torch.tensor(model.layout.sizes)) ** 2 * diagonal).sum()
    torch.testing.assert_close(posterior.curvatures[0].log_det(scale), want)
    draws = posterior.sample(4_000, seed=0).theta[:4_000]
    torch.testing.assert_close(draws.var(0), 1 / (1 + diagonal), rtol=0.12, atol=0)


def one_datum():
    model = bdl.Model(bdl.nets.mlp(2, 4, 3), bdl.GaussianPrior(1.5, bias_std=0.7), bdl.Categorical())
    return model, torch.tensor([[0.3, -1.2]], dtype=torch.float64), torch.tensor([1])


def one_patch():
    """A convolution as large as its image has one position, and is a dense layer."""
    network = nn.Sequential(nn.Conv2d(2, 3, 2, bias=False), nn.Flatten(), nn.Tanh(), nn.Linear(3, 2))
    model = bdl.Model(network, bdl.GaussianPrior(0.9), bdl.Gaussian(0.5))
    x = torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.zeros(1, 2, dtype=x.dtype)


def linear_outputs():
    """Gaussian noise and a linear network: the gradient of an output is the same for every datum."""
    model = bdl.Model(bdl.nets.mlp(3, 2), bdl.GaussianPrior(1.5, bias_std=0.7), bdl.Gaussian(0.5))
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, x[:, :2]


@pytest.mark.parametrize("case", [one_datum, one_patch, linear_outputs])
def test_kronecker_factors_where_they_are_exact(case):
    model, x, y = case()
    stack = model.sample_prior(1, seed=0, dtype=x.dtype)
    theta = stack.theta[0]
    jacobian = Jacobian(model, model.layout.names, theta, x)
    outputs = model.forward(stack.theta, x).shape[-1]
    curvature = Kronecker(jacobian, theta, x, lambda f: likelihood_root(model.likelihood, f), outputs)
    G = dense_ggn(model, theta, x, y)
    layer = torch.tensor([name.rpartition(".")[0].__hash__() for name in model.layout.names])
    layer = layer.repeat_interleave(torch.tensor(model.layout.sizes))
    G = torch.where(layer[:, None] == layer, G, 0)
    eye = torch.eye(len(G), dtype=G.dtype)
    scale = torch.linspace(0.5, 2, len(model.layout.names), dtype=x.dtype)
    R = scale.repeat_interleave(torch.tensor(model.layout.sizes)).diag()
    torch.testing.assert_close(curvature.log_det(), torch.logdet(eye + G))
    torch.testing.assert_close(curvature.log_det(scale[0]), torch.logdet(eye + scale[0] ** 2 * G))
    torch.testing.assert_close(curvature.log_det(scale), torch.logdet(eye + R @ G @ R))
    want = torch.linalg.inv(eye + G)
    torch.testing.assert_close(curvature.covariance(eye[None])[0], want)
    draws = curvature.sample(RowRandom(0, range(4_000)))
    std = want.diagonal().sqrt()
    assert ((draws.mT.cov() - want) / torch.outer(std, std)).abs().max() < 6 * math.sqrt(2 / 4_000)


def test_kronecker_factors_of_several_data_are_their_means():
    """The definition, summed by hand over data, pixels and outputs, for a convolution and a dense layer."""
    network = nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    model = bdl.Model(network, bdl.GaussianPrior(1.2, bias_std=0.5), bdl.Categorical())
    x = torch.randn(5, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stack = model.sample_prior(1, seed=0, dtype=x.dtype)
    curvature = off_mode(model, x, torch.tensor([0, 1, 2, 0, 1]), modes=stack, structure="kron").curvatures[0]
    kernel, W, b = (value[0] for value in stack.named().values())
    P = Q = 0
    P_last = Q_last = 0
    for image in x:
        s = F.conv2d(image[None], kernel).requires_grad_()
        h = torch.cat([torch.tanh(s).flatten(), torch.ones(1, dtype=x.dtype)])
        f = W @ h[:-1] + b
        p = f.detach().softmax(-1)
        root = likelihood_root(bdl.Categorical(), f.detach()[None])[0]
        torch.testing.assert_close(root @ root.mT, p.diag() - torch.outer(p, p))
        patches = F.unfold(image[None], 2)[0] * 1.2
        P = P + patches @ patches.mT / (5 * 4)
        for k in range(3):
            g = torch.autograd.grad(f @ root[:, k], s, retain_graph=True)[0][0].flatten(1)
            Q = Q + g @ g.mT
        inputs = h.detach() * torch.tensor([1.2] * 8 + [0.5], dtype=x.dtype)
        P_last = P_last + torch.outer(inputs, inputs) / 5
        Q_last = Q_last + root @ root.mT
    for layer, want in (("0", (P, Q)), ("3", (P_last, Q_last))):
        torch.testing.assert_close(curvature.factors[layer], want)


# --- evidence away from the prior and the noise of the fit ---


@pytest.mark.parametrize("structure", STRUCTURES)
def test_another_prior_and_noise_are_those_of_another_model(structure, regression):
    """At the same network weights: fit anew with other stds, and compare with rescaling."""
    x, y = regression

    def model(prior, noise_std):
        return bdl.Model(bdl.nets.mlp(1, 10, 2), prior, bdl.Gaussian(noise_std))

    for before, after, stds in (
        (bdl.GaussianPrior(0.7, fan_in=True), bdl.GaussianPrior(1.1, fan_in=True), 1.1),
        (bdl.GaussianPrior(0.7, bias_std=0.4), bdl.GaussianPrior(1.1, bias_std=0.4), 1.1),
        (bdl.GaussianPrior(0.7), bdl.GaussianPrior(1.1, bias_std=0.3), torch.tensor([1.1, 0.3, 1.1, 0.3])),
    ):
        first, second = model(before, 0.3), model(after, 0.5)
        stack = first.sample_prior(2, seed=0, dtype=x.dtype)
        same_weights = bdl.Stack.from_state_dicts(stack.state_dicts(), second.layout)
        one = off_mode(first, x, y, modes=stack, structure=structure)
        two = off_mode(second, x, y, modes=same_weights, structure=structure)
        rescaled = one.log_marginal_likelihood(prior_std=stds, noise_std=0.5)
        torch.testing.assert_close(rescaled, two.log_marginal_likelihood())
        unchanged = one.log_marginal_likelihood(noise_std=0.3)
        torch.testing.assert_close(unchanged, one.log_marginal_likelihood())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_gradients_of_the_evidence(structure, model, regression, classes):
    stack = model.sample_prior(1, seed=0, dtype=torch.float64)
    posterior = off_mode(model, *regression, modes=stack, structure=structure)
    stds = torch.tensor([0.5, 0.9, 1.2, 0.3], dtype=torch.float64, requires_grad=True)
    one, noise = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.9, 0.2))
    assert torch.autograd.gradcheck(posterior.log_marginal_likelihood, (one, noise))
    assert torch.autograd.gradcheck(posterior.log_marginal_likelihood, (stds, noise))
    model, x, y, stack = classes
    posterior = off_mode(model, x, y, modes=stack, structure=structure)
    assert torch.autograd.gradcheck(posterior.log_marginal_likelihood, (one,))  # keeps the biases' own std
    assert torch.autograd.gradcheck(posterior.log_marginal_likelihood, (stds,))


def test_single_precision_loses_little(regression):
    x, y = bdl.data.two_clusters(100)
    model = bdl.Model(bdl.nets.mlp(1, 30, 30, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    double = bdl.laplace(model, x.double(), y.double(), steps=200, lr=0.03)
    single = bdl.laplace(model, x, y, modes=double.modes.to(torch.float32))
    assert single.log_marginal_likelihood().item() == pytest.approx(
        double.log_marginal_likelihood().item(), rel=2e-4, abs=0.02
    )
    difference = single.predict(x).epistemic_std / double.predict(x.double()).epistemic_std - 1
    assert difference.abs().max() < 1e-3


# --- predictions ---


@pytest.mark.parametrize("structure", STRUCTURES)
def test_drawn_functions_have_the_predictive_moments(structure, model, regression):
    x, y = regression
    stack = model.sample_prior(2, seed=0, dtype=x.dtype)
    posterior = off_mode(model, x, y, modes=stack, structure=structure, temperature=0.5)
    f, predictive = posterior.functions(x, 4_000, seed=1), posterior.predict(x)
    assert f.shape == (8_000, 12, 2)
    torch.testing.assert_close(f.mean(0), predictive.mean, rtol=0, atol=0.06 * f.std().item())
    torch.testing.assert_close(f.std(0), predictive.epistemic_std, rtol=0.05, atol=0)
    first = f[:4_000, 3].mT.cov()
    torch.testing.assert_close(first, predictive.covariance[0, 3], rtol=0.15, atol=0.05 * first.max().item())


def test_a_mixture_of_modes(model, regression):
    x, y = regression
    stack = model.sample_prior(2, seed=0, dtype=x.dtype)
    both = off_mode(model, x, y, modes=stack)
    singles = [off_mode(model, x, y, modes=mode) for mode in stack]
    parts = [single.predict(x) for single in singles]
    mixture = both.predict(x)
    torch.testing.assert_close(mixture.means, torch.cat([part.means for part in parts]))
    densities = torch.stack([part.log_prob(y).exp() for part in parts])
    torch.testing.assert_close(mixture.log_prob(y), densities.mean(0).log())
    own = torch.distributions.MultivariateNormal(
        parts[0].mean, parts[0].covariance[0] + 0.09 * torch.eye(2, dtype=x.dtype)
    )
    torch.testing.assert_close(parts[0].log_prob(y), own.log_prob(y))
    second = sum(0.5 * (part.mean.square() + part.total_std.square()) for part in parts)
    torch.testing.assert_close(mixture.total_std, (second - mixture.mean.square()).sqrt())
    for q in (0.05, 0.5):
        torch.testing.assert_close(mixture.cdf(mixture.quantile(q)), torch.full_like(y, q), rtol=0, atol=1e-9)
    low, high = mixture.interval(0.9)
    assert ((y > low) & (y < high)).any() and (mixture.aleatoric_std == 0.3).all()
    evidence = torch.cat([single.log_marginal_likelihood() for single in singles])
    torch.testing.assert_close(both.log_marginal_likelihood(), evidence)
    torch.testing.assert_close(both.sample(3, seed=0).theta[:3], singles[0].sample(3, seed=0).theta)
    for name in ("q must lie", "probability must lie"):
        with pytest.raises(ValueError, match=name):
            mixture.quantile(1.0) if name[0] == "q" else mixture.interval(0)


def test_classes_are_averaged_over_the_logits(classes):
    model, x, y, stack = classes
    posterior = off_mode(model, x, y, modes=stack)
    p = posterior.functions(x, 4_000, seed=1).softmax(-1)
    predictive = posterior.predict(x, draws=4_000, seed=2)
    torch.testing.assert_close(predictive.probabilities, p.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close(
        predictive.aleatoric_entropy, torch.special.entr(p).sum(-1).mean(0), rtol=0, atol=0.02
    )
    torch.testing.assert_close(predictive.probabilities.sum(-1), torch.ones(len(x), dtype=x.dtype))
    assert (predictive.epistemic_entropy >= 0).all()


def test_one_temperature_per_mode(linear):
    model, x, y, _ = linear
    single = bdl.laplace(model, x, y, steps=300, lr=0.05)
    both = bdl.concatenate([single.modes, single.modes])
    predictive = bdl.laplace(model, x, y, modes=both, temperature=torch.tensor([1.0, 4.0])).predict(x)
    torch.testing.assert_close(predictive.covariance[1], 4 * predictive.covariance[0])


def test_draws_do_not_depend_on_their_company(classes):
    model, x, y, stack = classes
    for structure in STRUCTURES:
        posterior = off_mode(model, x, y, modes=stack[0], structure=structure)
        whole = posterior.sample(6, seed=3).theta
        torch.testing.assert_close(posterior.sample(range(4, 6), seed=3).theta, whole[4:])
        assert not torch.allclose(posterior.sample(6, seed=4).theta, whole)


# --- modes ---


def test_modes_are_found():
    x, y = bdl.data.two_clusters(40)
    model = bdl.Model(bdl.nets.mlp(1, 20, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    posterior = bdl.laplace(model, x, y, modes=3, steps=200)
    assert posterior.excess.max() < 0.05
    assert posterior.loss.shape == (200, 3) and posterior.seconds > 0
    trained = bdl.ensemble(model, x, y, members=3, steps=200)
    gain = (
        bdl.LogPosterior(model, x, y)(posterior.modes.theta)[0]
        - bdl.LogPosterior(model, x, y)(trained.stack.theta)[0]
    )
    assert gain.min() > 1, "refining would not be worth its time"
    alone = bdl.laplace(model, x, y, modes=range(2, 3), steps=200)
    torch.testing.assert_close(alone.modes.theta, posterior.modes.theta[2:], rtol=0, atol=1e-3)
    with pytest.warns(UserWarning, match="not at a mode: a Newton step would raise the log posterior by"):
        bdl.laplace(model, x, y, modes=trained.stack)


def test_interrupted_refinement_keeps_the_trained_modes(linear, monkeypatch):
    model, x, y, _ = linear

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(modes_module, "_climb", interrupt)
    with pytest.warns(UserWarning, match="modes from row 0 on are not refined"):
        stack, _ = modes_module.find_modes(model, x, y, modes=2, steps=5)
    torch.testing.assert_close(stack.theta, bdl.ensemble(model, x, y, members=2, steps=5).stack.theta)


def test_what_a_posterior_says_of_itself(linear):
    model, x, y, features = linear
    text = repr(bdl.laplace(model, x, y, steps=300, lr=0.05))
    want = bdl.linear_regression(features, y, prior_std=PRIOR_STD, noise_std=NOISE_STD).log_evidence
    assert f"full: S=1 mode(s), D=3 weights; log marginal likelihood {want:.2f}" in text
    assert "marginal" not in repr(bdl.laplace(model, x, y, steps=300, lr=0.05, temperature=0.5))


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"structure": "kfac"},
            ValueError,
            "structure must be one of 'full', 'diagonal', 'kron', 'last_layer'",
        ),
        ({"modes": 0}, ValueError, "modes must be at least 1"),
        ({"modes": 1.5}, TypeError, "modes must be a whole number"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"temperature": torch.ones(3)}, ValueError, r"one value per row, shape \(1,\)"),
        ({"likelihood_temperature": -1.0}, ValueError, "likelihood_temperature must be positive"),
        ({"memory_gb": 1e-9}, ValueError, "D=3 weights on N.C=15 outputs.*needs.*GB.*Use structure='kron'"),
        ({"memory_gb": 0}, ValueError, "memory_gb must be positive"),
        ({"refine_steps": -1}, ValueError, "refine_steps must be at least 0"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
    ],
)
def test_bad_settings_are_named(linear, arguments, error, message):
    model, x, y, _ = linear
    with pytest.raises(error, match=message):
        bdl.laplace(model, x, y, **{"steps": 3} | arguments)


def test_bad_data_stacks_and_questions_are_named(linear, classes):
    model, x, y, _ = linear
    with pytest.raises(ValueError, match="NaN"):
        bdl.laplace(model, x * torch.nan, y)
    with pytest.raises(ValueError, match="same length"):
        bdl.laplace(model, x[:3], y)
    with pytest.raises(ValueError, match="does not belong to this model"):
        bdl.laplace(model, x, y, modes=classes[3])
    with pytest.raises(ValueError, match="modes must be at least 1, got 0"):
        bdl.laplace(model, x, y, modes=model.sample_prior(2, seed=0, dtype=x.dtype)[:0])
    posterior = bdl.laplace(model, x, y, steps=300, lr=0.05)
    for question, message in (
        (lambda: posterior.predict(x[:, :1]), "takes 2 input"),
        (lambda: posterior.predict(x.float()), "Convert one of them"),
        (lambda: posterior.functions(x, 0), "draws must be at least 1"),
        (lambda: posterior.log_marginal_likelihood(prior_std=-1.0), "prior_std must be positive"),
        (
            lambda: posterior.log_marginal_likelihood(prior_std=torch.ones(3)),
            r"one value per parameter tensor",
        ),
        (lambda: posterior.log_marginal_likelihood(noise_std=0.0), "noise_std must be positive"),
        (
            lambda: off_mode(*classes[:3], modes=classes[3]).log_marginal_likelihood(noise_std=1.0),
            "labels have none",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            question()

    class Poisson:
        targets, log_prob = bdl.Gaussian(1.0).targets, bdl.Gaussian(1.0).log_prob

    with pytest.raises(TypeError, match="knows Gaussian and Categorical likelihoods, got Poisson"):
        bdl.laplace(bdl.Model(bdl.nets.mlp(2, 1), bdl.GaussianPrior(), Poisson()), x, y)


def test_a_curvature_without_inverse_says_so(linear):
    model, x, y, _ = linear
    stack = model.sample_prior(1, seed=0, dtype=x.dtype)
    jacobian = Jacobian(model, model.layout.names, stack.theta[0], x)
    curvature = Full(jacobian, stack.theta[0], x, lambda f: f.new_full((len(f), 1, 1), torch.inf), 1)
    with pytest.raises(RuntimeError, match="not positive definite.*has not converged"):
        curvature.log_det()


def test_layers_are_found_by_parameter_names():
    blocks = find_blocks(bdl.nets.mlp(2, 3, 1), ["layers.1.weight", "layers.1.bias"])
    assert list(blocks) == ["layers.1"] and blocks["layers.1"].bias == "layers.1.bias"
