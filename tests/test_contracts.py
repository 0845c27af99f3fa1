"""The protocols of likelihood, network and posterior, each held to by a member that only these tests know."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import bdlcore as bdl
from bdlcore._support.memory import PASS

SOURCES = {
    "hmc": lambda *data: bdl.hmc(*data, chains=2, draws=6, warmup=10, leapfrog_steps=4, initial_steps=150),
    "sgld": lambda *data: bdl.sgld(*data, chains=2, draws=6, warmup=5, thinning=1, initial_steps=150),
    "sghmc": lambda *data: bdl.sghmc(*data, chains=2, draws=6, warmup=5, thinning=1, initial_steps=150),
    "mean_field_vi": lambda *data: bdl.mean_field_vi(*data, members=2, draws=6, steps=5, initial_steps=150),
    "swag": lambda *data: bdl.swag(
        *data, members=2, draws=6, snapshots=4, initial_steps=150, batch_size=4, lr=1e-4
    ),
    "ensemble": lambda *data: bdl.ensemble(*data, members=2, steps=5),
}


@dataclass(frozen=True)
class Counts(bdl.Likelihood):
    """Poisson counts with mean exp(f): it knows nothing but its own density, and its curvature exp(f)."""

    def targets(self, y, outputs, like):
        if outputs != 1 or y.shape != (len(like),):
            raise ValueError("Counts wants one output and y (N,).")
        return y.to(like)

    def log_prob(self, f, y):
        return y * f[..., 0] - f[..., 0].exp() - torch.lgamma(y + 1)

    def sample(self, f, generator):
        return torch.poisson(f[..., 0].exp(), generator)

    def curvature_root(self, f):
        return (0.5 * f).exp()[..., None]


@pytest.fixture(scope="module")
def counts():
    g = torch.Generator().manual_seed(0)
    x = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]
    y = torch.poisson((1 + x[:, 0]).exp(), g)
    return bdl.Model(bdl.nets.mlp(1, 4, 1), bdl.GaussianPrior(1.0), Counts()), x, y


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.filterwarnings("ignore:.*(hardly moved|climbed|diverged)")  # a few steps, for speed
def test_a_likelihood_of_ones_own_works_in_every_source(counts, source):
    model, x, y = counts
    posterior = SOURCES[source](model, x, y)
    predictive = bdl.predict(model, posterior, x)
    f = model.functions(posterior.stack, x)
    want = torch.distributions.Poisson(f[..., 0].exp()).log_prob(y).exp().mean(0).log()
    torch.testing.assert_close(predictive.log_prob(y), want)
    in_parts = bdl.predict(model, posterior, x, chunk_size=5)
    torch.testing.assert_close(in_parts.log_prob(y), want)
    assert {"spread"} <= {finding.name for finding in bdl.health(model, posterior, x).findings}


@pytest.mark.filterwarnings("ignore:.*diverged")
def test_laplace_evidence_and_sweeps_take_a_likelihood_of_ones_own(counts):
    """For one weight the evidence is an integral on a grid, and Laplace's is near it for many counts."""
    _, x, _ = counts
    one = bdl.Model(nn.Linear(1, 1, bias=False), bdl.GaussianPrior(1.0), Counts())
    x = torch.ones_like(x)
    y = torch.full((12,), 9.0, dtype=torch.float64)
    posterior = bdl.laplace(one, x, y, steps=300, lr=0.05)
    w = torch.linspace(-6, 6, 100_001, dtype=torch.float64)[:, None]
    joint = one.log_likelihood(w, x, y) + torch.distributions.Normal(0, 1).log_prob(w[:, 0])
    evidence = joint.logsumexp(0) + torch.log(w[1, 0] - w[0, 0])
    assert posterior.log_marginal_likelihood().item() == pytest.approx(evidence.item(), abs=0.01)
    weights = joint.softmax(0)
    want = (weights * torch.distributions.Poisson(w.exp()).log_prob(y[0]).exp()[:, 0]).sum().log()
    found = posterior.predict(x[:1], draws=20_000).log_prob(y[:1])
    assert found.item() == pytest.approx(want.item(), abs=0.02)
    with pytest.raises(ValueError, match="Counts has none"):
        posterior.log_marginal_likelihood(noise_std=0.1)
    sweep = bdl.temperature_sweep(
        one, x, y, x[:2], torch.tensor([0.1, 1.0]), kind="cold", chains=2, draws=8, warmup=12
    )
    assert sweep.functions.shape == (2, 16, 2, 1)


def test_bad_data_are_refused_by_the_likelihoods_own_words(counts):
    model, x, y = counts
    with pytest.raises(ValueError, match="Counts wants one output"):
        bdl.hmc(model, x, y[:, None])


# --- networks ---


class Bump(nn.Module):
    """a exp(-(x - b)^2) with two weights, written for one setting."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.a * torch.exp(-(x - self.b).square())


class StackedBump(Bump, bdl.nets.StackedModule):
    """The same for a stack; the rest of the protocol comes from `StackedModule`."""

    def forward_stack(self, weights, x):
        return weights[:, None, :1] * torch.exp(-(x - weights[:, None, 1:]).square())


class OwnBump:
    """A network that inherits nothing of bdlcore's: it answers the protocol, and counts how often it is asked."""

    def __init__(self):
        self.inner, self.asked = StackedBump(), set()

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def forward_stack(self, weights, x):
        self.asked.add("forward_stack")
        return self.inner.forward_stack(weights, x)

    def pullback(self, weights, x):
        self.asked.add("pullback")
        return self.inner.pullback(weights, x)

    def check_inputs(self, x):
        self.asked.add("check_inputs")
        if x.shape[1:] != (1,):
            raise ValueError("one input, please")

    def widest_activation(self, x):
        self.asked.add("widest_activation")
        return 1


@pytest.mark.parametrize("network", [Bump, StackedBump, OwnBump])
def test_a_network_of_ones_own(network):
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    y = torch.exp(-(x - 0.3).square())
    made = network()
    model = bdl.Model(made, bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    stack = model.sample_prior(5, seed=0, dtype=torch.float64)
    a, b = stack.weights[:, None, :1], stack.weights[:, None, 1:]
    torch.testing.assert_close(model.functions(stack, x), a * torch.exp(-(x - b).square()))
    posterior = bdl.hmc(model, x, y, chains=4, draws=50, warmup=50, leapfrog_steps=8)
    assert (posterior.stack.weights.mean(0) - torch.tensor([1.0, 0.3])).abs().max() < 0.3
    if network is OwnBump:
        assert made.asked == {"forward_stack", "pullback", "check_inputs", "widest_activation"}
        with pytest.raises(ValueError, match="one input, please"):
            model.functions(stack, x.expand(-1, 2))


@pytest.mark.parametrize(
    ("network", "x", "widest"),
    [
        (bdl.nets.mlp(1, 50, 20, 1), torch.zeros(3, 1), 50),
        (bdl.nets.cnn((1, 28, 28), (8, 16)), torch.zeros(3, 1, 28, 28), 8 * 28 * 28),
        (bdl.nets.cnn((1, 8, 8), (4, 64), pooling="stride"), torch.zeros(3, 1, 8, 8), 64 * 4),
        (
            nn.Sequential(nn.Conv2d(1, 64, 3), nn.Flatten(), nn.Linear(64 * 36, 10)),
            torch.zeros(2, 1, 8, 8),
            64 * 36,
        ),
        (bdl.ViewAverage(bdl.nets.mlp(2, 30, 2), bdl.rotations), torch.zeros(3, 2), 4 * 30),
        (bdl.nets.hourglass((3, 16, 16), (8, 8), skip=2), torch.zeros(1, 16, 16, 16), 16 * 16 * 16),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_widest_activation_bounds_the_rows_of_a_pass(network, x, widest):
    model = bdl.Model(network, bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    assert model.chunk_size(x) == PASS // (x.element_size() * len(x) * widest)


def test_an_attribute_that_happens_to_be_called_sizes_means_nothing():
    class Own(nn.Linear):
        sizes = "small", "large"

    model = bdl.Model(Own(1, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    assert model.functions(model.sample_prior(3, seed=0), torch.zeros(2, 1)).shape == (3, 2, 1)


# --- posteriors ---


class ThreeLines:
    """A posterior made by hand: three straight lines."""

    method, seconds, gradient_evaluations = "by hand", 0.0, 0

    def functions(self, x, draws=3, seed=0):
        return torch.tensor([0.0, 1.0, 2.0])[:, None, None] * x

    def predict(self, x):
        return bdl.GaussianPredictive(self.functions(x), 0.1)

    def save(self, path):
        raise NotImplementedError


def test_a_posterior_of_ones_own():
    x = torch.linspace(-1, 1, 5)[:, None]
    model = bdl.Model(nn.Linear(1, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    posterior = ThreeLines()
    assert isinstance(posterior, bdl.AnyPosterior)
    torch.testing.assert_close(bdl.predict(model, posterior, x).mean, x)
    report = bdl.health(model, posterior, x, reference=model.sample_prior(50, seed=0))
    assert report.subject == "by hand: 3 functions" and report["distance"].value > 0
