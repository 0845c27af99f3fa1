"""Unknown noise, outliers and counts: densities against torch.distributions, posteriors against integrals on a grid."""

import math

import pytest
import torch
from torch.distributions import Normal, StudentT
from torch.distributions import Poisson as TorchPoisson

import bdlcore as bdl

G = torch.float64


def functions(outputs):
    return torch.randn(3, 6, outputs, generator=torch.Generator().manual_seed(0), dtype=G)


def targets(outputs):
    return 2 * torch.randn(6, outputs, generator=torch.Generator().manual_seed(1), dtype=G)


# likelihood, outputs of f, and the distribution of y that f stands for
CASES = {
    "one noise": (bdl.Gaussian(bdl.LearnedNoise(0.5)), 3, lambda f: Normal(f[..., :2], f[..., 2:].exp())),
    "noises": (
        bdl.Gaussian(bdl.LearnedNoise([0.5, 2.0])),
        4,
        lambda f: Normal(f[..., :2], f[..., 2:].exp()),
    ),
    "head": (bdl.Gaussian(bdl.NoiseHead(0.5)), 4, lambda f: Normal(f[..., :2], 0.5 * f[..., 2:].exp())),
    "outliers": (bdl.StudentT(0.7, dof=3), 2, lambda f: StudentT(3, f, 0.7)),
    "outliers, one noise": (
        bdl.StudentT(bdl.LearnedNoise(0.7), dof=3),
        3,
        lambda f: StudentT(3, f[..., :2], f[..., 2:].exp()),
    ),
    "outliers, head": (
        bdl.StudentT(bdl.NoiseHead(0.7), dof=5),
        4,
        lambda f: StudentT(5, f[..., :2], 0.7 * f[..., 2:].exp()),
    ),
}
FISHER = dict(CASES)
CASES["counts"] = (bdl.Poisson(), 2, lambda f: TorchPoisson(f.exp()))


@pytest.mark.parametrize("case", CASES)
def test_density_and_slope(case):
    likelihood, K, distribution = CASES[case]
    f, y = functions(K).requires_grad_(), targets(2)
    y = y.abs().floor() if case == "counts" else y
    want = distribution(f).log_prob(y).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(f, y), want)
    torch.testing.assert_close(likelihood.slope(f.detach(), y), torch.autograd.grad(want.sum(), f)[0])


@pytest.mark.parametrize("case", FISHER)
def test_the_curvature_is_the_fisher_information_by_quadrature(case):
    """E[slope^2] of each output by itself; one noise for two outputs has the information of both."""
    likelihood, K, distribution = CASES[case]
    f = functions(K)[0, :1]
    location, scale = likelihood._noise.split(f)
    z = torch.atanh(torch.linspace(-1, 1, 20_001, dtype=G)[1:-1])[:, None] * 40  # heavy tails
    y, step = location + scale * z, scale * torch.gradient(z[:, 0])[0][:, None]
    p = distribution(f).log_prob(y).exp() * step
    alone = type(likelihood)(bdl.NoiseHead(), *([likelihood.dof] if hasattr(likelihood, "dof") else []))
    both = torch.cat([location, torch.as_tensor(scale, dtype=G).log().expand_as(location)], 1)
    want = (alone.slope(both.expand(len(y), -1), y).square() * p.repeat(1, 2)).sum(0)
    want = {2: want[:2], 3: torch.cat([want[:2], want[2:].sum(0, keepdim=True)]), 4: want}[K]
    root = likelihood.curvature_root(f)[0]
    torch.testing.assert_close(root @ root.mT, want.diag(), rtol=2e-3, atol=1e-6)


def test_the_curvature_of_counts_is_their_variance():
    f, y = functions(2)[0], targets(2).abs().floor()
    root = bdl.Poisson().curvature_root(f)
    hessian = torch.stack(
        [
            torch.autograd.functional.hessian(
                lambda f, n=n: bdl.Poisson().log_prob(f[None], y[n][None])[0], f[n]
            )
            for n in range(6)
        ]
    )
    torch.testing.assert_close(root @ root.mT, -hessian)


@pytest.mark.parametrize("case", CASES)
def test_samples_are_of_the_distribution(case):
    """Shares of samples below its quartiles, to five standard errors."""
    likelihood, K, distribution = CASES[case]
    f = functions(K)[0, :1].expand(40_000, 1, K)
    y = likelihood.sample(f, torch.Generator().manual_seed(0))
    assert y.shape == (40_000, 1, 2)
    if case == "counts":
        below, at = (y <= 1).double().mean(0), torch.distributions.Poisson(f[0].exp())
        share = at.log_prob(torch.zeros(1, 2, dtype=G)).exp() + at.log_prob(torch.ones(1, 2, dtype=G)).exp()
    else:
        where = distribution(f[:1]).mean[0] + 0.6 * distribution(f[:1]).scale[0]
        below = (y < where).double().mean(0)
        z = torch.tensor(0.6, dtype=G)
        dof = getattr(likelihood, "dof", None)
        if dof is None:
            share = torch.special.ndtr(z).expand(1, 2)
        else:
            share = bdl.StudentTPredictive(torch.zeros(1, 1, 1, dtype=G), 1.0, dof).cdf(0.6).expand(1, 2)
    assert ((below - share).abs() < 5 * (share * (1 - share) / 40_000).sqrt()).all()


# --- posteriors ---

MEDIAN, FACTOR, PRIOR = 1.0, 3.0, 0.8


@pytest.fixture(scope="module")
def problem():
    """Linear regression with unknown noise; given the noise all is in closed form, and the noise is on a grid."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(25, 1, generator=g, dtype=G)
    y = x[:, 0] - 0.3 + 0.4 * torch.randn(25, generator=g, dtype=G)
    features = torch.cat([x, torch.ones_like(x)], 1)
    log_noise = torch.linspace(-2.5, 1.5, 401, dtype=G)
    given = [bdl.linear_regression(features, y, prior_std=PRIOR, noise_std=s.exp().item()) for s in log_noise]
    noise = (2 * log_noise).exp()[:, None, None] * torch.eye(25)
    marginal = torch.distributions.MultivariateNormal(
        torch.zeros(25, dtype=G), PRIOR**2 * features @ features.T + noise
    )
    evidence = marginal.log_prob(y)
    prior = Normal(math.log(MEDIAN), math.log(FACTOR)).log_prob(log_noise)
    joint = evidence + prior
    weight = joint.softmax(0)
    mean = (weight * log_noise).sum()
    std = (weight * (log_noise - mean).square()).sum().sqrt()
    total = (joint.logsumexp(0) + (log_noise[1] - log_noise[0]).log()).item()
    variance = (weight * (2 * log_noise).exp()).sum()
    slope = (weight[:, None] * torch.stack([post.mean for post in given])).sum(0)
    noise = bdl.LearnedNoise(MEDIAN, FACTOR)
    model = bdl.Model(bdl.nets.mlp(1, 1), bdl.GaussianPrior(PRIOR), bdl.Gaussian(noise))
    return model, x, y, {"mean": mean, "std": std, "evidence": total, "variance": variance, "slope": slope}


@pytest.mark.parametrize(
    ("method", "settings", "error"),
    [
        (bdl.hmc, {"chains": 160, "draws": 40, "leapfrog_steps": 10}, 0.1),
        (bdl.sghmc, {"chains": 320, "draws": 40, "step_size": 0.02}, 0.2),
        # half the default step: with it one chain in some thousands leaves for a noise so small that steps explode
        (bdl.sgld, {"chains": 160, "draws": 40, "thinning": 40, "step_size": 0.004}, 0.3),
        (bdl.mean_field_vi, {"draws": 2000}, 0.2),
        (bdl.ensemble, {"members": 2, "steps": 1500, "lr": 0.03}, 1.0),
        (bdl.laplace, {"modes": 1}, 1.0),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_posterior_of_an_unknown_noise(problem, method, settings, error):
    """Mean and std of log noise in units of its std; a mode lies half a std off, for 25 data, and the prior 5."""
    model, x, y, exact = problem
    posterior = method(model, x, y, **settings)
    draws = posterior.functions(x[:3], 4000) if method is bdl.laplace else posterior.functions(x[:3])
    assert draws.shape[2] == 2 and (draws[:, 0, 1] == draws[:, 2, 1]).all()
    log_noise = draws[:, 0, 1]
    assert abs(log_noise.mean() - exact["mean"]) < error * exact["std"]
    if method is not bdl.ensemble:
        assert abs(log_noise.std() / exact["std"] - 1) < min(max(error, 0.15), 0.5)
    if method in (bdl.hmc, bdl.sghmc, bdl.sgld):
        weights = posterior.stack.weights.mean(0)
        assert (weights[:2] - exact["slope"]).abs().max() < 0.02
        variance = posterior.predict(x).aleatoric_std.square().mean()
        # E exp(2 s) = exp(2 mean + 2 std^2) of a normal s: what the bounds above leave to it
        wider = 2 * exact["std"] ** 2 * ((1 + max(error, 0.15)) ** 2 - 1)
        assert abs(variance / exact["variance"] - 1) < (2 * error * exact["std"] + wider).expm1()


def test_swag_takes_an_unknown_noise(problem):
    model, x, y, exact = problem
    posterior = bdl.swag(model, x, y, members=2, snapshots=10, batch_size=8, lr=1e-4, initial_steps=1500)
    log_noise = posterior.stack.weights[:, -1]
    assert abs(log_noise.mean() - exact["mean"]) < 2 * exact["std"]
    assert posterior.predict(x).log_prob(y).isfinite().all()


def test_evidence_and_structures_of_laplace(problem):
    """Its evidence errs by what is skew, about 0.1 nats for 25 data; the noise's Occam factor is 1.8 nats."""
    model, x, y, exact = problem
    full = bdl.laplace(model, x, y)
    assert full.log_marginal_likelihood().item() == pytest.approx(exact["evidence"], abs=0.2)
    last = bdl.laplace(model, x, y, structure="last_layer", modes=full.modes)
    torch.testing.assert_close(last.log_marginal_likelihood(), full.log_marginal_likelihood())
    diagonal = bdl.laplace(model, x, y, structure="diagonal", modes=full.modes)
    assert diagonal.curvatures[0].diagonal[-1].item() == pytest.approx(2 * 25 * math.log(FACTOR) ** 2)
    with pytest.raises(ValueError, match=r"learns parameters of its own \(likelihood.log_noise\)"):
        bdl.laplace(model, x, y, structure="kron")
    with pytest.raises(ValueError, match="here it is learned"):
        full.log_marginal_likelihood(noise_std=0.3)
    with pytest.raises(ValueError, match="parameters of its own, whose prior"):
        full.log_marginal_likelihood(prior_std=0.3)


def test_gauss_newton_by_layers_and_by_transforms_agree():
    """The fast way through layers and torch.func, against autograd of the whole forward pass."""
    from bdlcore.curvature.jacobians import Jacobian

    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=G)
    model = bdl.Model(
        bdl.nets.mlp(2, 4, 2), bdl.GaussianPrior(0.7), bdl.Gaussian(bdl.LearnedNoise([0.1, 1.0]))
    )
    theta = model.sample_prior(1, seed=0, dtype=G).theta
    want = torch.autograd.functional.jacobian(lambda t: model.forward(t[None], x)[0], theta[0])
    jacobian = Jacobian(model, model.layout.names, theta[0], x)
    assert jacobian.blocks is not None
    for _ in range(2):
        f, J = jacobian(theta[0], x)
        torch.testing.assert_close(J, want)
        torch.testing.assert_close(f, model.forward(theta, x)[0])
        jacobian.blocks = None


def test_a_head_without_inputs_is_an_unknown_noise():
    """A network that is two biases: its second output has the prior that LearnedNoise states, so all is the same."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.zeros(25, 1, dtype=G), 0.2 + 0.4 * torch.randn(25, generator=g, dtype=G)
    head = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(0.8), bdl.Gaussian(bdl.NoiseHead(0.5)))
    learned = bdl.Model(
        bdl.nets.mlp(1, 1), bdl.GaussianPrior(0.8), bdl.Gaussian(bdl.LearnedNoise(0.5, math.exp(0.8)))
    )
    theta = torch.randn(4, 4, generator=g, dtype=G)
    same = theta[:, [0, 2, 3]]
    torch.testing.assert_close(head.log_likelihood(theta, x, y), learned.log_likelihood(same, x, y))
    one, two = bdl.Stack(theta, head.layout), bdl.Stack(same, learned.layout)
    f, other = head.functions(one, x), bdl.predict(learned, two, x)
    for predictive in (bdl.predict(head, one, x), bdl.GaussianPredictive(f[..., :1], 0.5 * f[..., 1:].exp())):
        torch.testing.assert_close(predictive.quantile(0.9), other.quantile(0.9))
        torch.testing.assert_close(predictive.total_std, other.total_std)
    modes = bdl.laplace(head, x, y), bdl.laplace(learned, x, y)
    evidence = [posterior.log_marginal_likelihood().item() for posterior in modes]
    assert evidence[0] == pytest.approx(evidence[1], abs=1e-4)


def test_a_head_finds_where_the_noise_is():
    """Noise of 0.1 on the left and of 1 on the right, found by long HMC to a factor of 1.5."""
    g = torch.Generator().manual_seed(0)
    x = torch.rand(300, 1, generator=g, dtype=G) * 2 - 1
    noise = torch.where(x[:, 0] < 0, 0.1, 1.0)
    y = noise * torch.randn(300, generator=g, dtype=G)
    model = bdl.Model(bdl.nets.mlp(1, 8, 2), bdl.GaussianPrior(1.5), bdl.Gaussian(bdl.NoiseHead(0.3)))
    posterior = bdl.hmc(model, x, y, chains=4, draws=50, warmup=60, leapfrog_steps=20)
    std = posterior.predict(torch.tensor([[-0.6], [0.6]], dtype=G)).aleatoric_std[:, 0]
    assert 0.1 / 1.5 < std[0] < 0.15 and 1 / 1.5 < std[1] < 1.5


def test_outliers_pull_less():
    """One wild datum among 20: least squares follow it, Student's t does not, and the grid says how much."""
    x, y = torch.zeros(20, 1, dtype=G), torch.linspace(-0.5, 0.5, 20, dtype=G)
    y[-1] = 30.0
    likelihood = bdl.StudentT(0.3, dof=4)
    network = torch.nn.Linear(1, 1)
    network.weight.requires_grad_(False)
    model = bdl.Model(network, bdl.GaussianPrior(2.0), likelihood)
    b = torch.linspace(-2, 2, 8001, dtype=G)[:, None]
    weight = model.log_joint(b / 2.0, x, y).softmax(0)
    mean, second = (weight * b[:, 0]).sum(), (weight * b[:, 0].square()).sum()
    posterior = bdl.hmc(model, x, y, chains=16, draws=400, leapfrog_steps=8)
    std = (second - mean.square()).sqrt()
    assert abs(posterior.stack.weights.mean() - mean) < 0.1 * std and abs(mean) < 0.1
    assert abs(posterior.stack.weights.std() / std - 1) < 0.1
    gaussian = bdl.Model(network, bdl.GaussianPrior(2.0), bdl.Gaussian(0.3))
    assert bdl.laplace(gaussian, x, y).modes.weights.item() > 1


# --- predictives ---


def test_predictive_of_outliers_is_a_mixture():
    f, scale = functions(2), functions(4)[..., 2:].exp()
    predictive = bdl.StudentTPredictive(f, scale, 4.0)
    want = StudentT(4.0, f, scale).log_prob(targets(2)).sum(-1).exp().mean(0).log()
    torch.testing.assert_close(predictive.log_prob(targets(2)), want)
    for q in (0.001, 0.3, 0.975):
        back = predictive.cdf(predictive.quantile(q))
        torch.testing.assert_close(back, torch.full_like(back, q), rtol=0, atol=1e-9)
    torch.testing.assert_close(predictive.aleatoric_std, (2 * scale.square().mean(0)).sqrt())
    assert bdl.StudentTPredictive(f, 1.0, 2.0).total_std.isinf().all()
    wide = bdl.StudentTPredictive(torch.zeros(1, 1, 1, dtype=G), 2.0, 1.0).quantile(0.75)
    assert wide.item() == pytest.approx(2.0)  # Cauchy's quartile is its scale


def test_predictive_of_counts_is_a_mixture():
    f, y = functions(2), targets(2).abs().floor()
    predictive = bdl.CountPredictive(f)
    want = TorchPoisson(f.exp()).log_prob(y).sum(-1).exp().mean(0).log()
    torch.testing.assert_close(predictive.log_prob(y), want)
    k = torch.arange(200, dtype=G)[:, None, None, None]
    p = TorchPoisson(f.exp()).log_prob(k).exp().mean(1)
    torch.testing.assert_close(predictive.cdf(3.7), p[:4].sum(0))
    mean = (k[:, 0] * p).sum(0)
    torch.testing.assert_close(predictive.mean, mean)
    torch.testing.assert_close(predictive.total_std.square(), (k[:, 0].square() * p).sum(0) - mean.square())
    for q in (1e-6, 0.2, 0.5, 0.99):
        assert (predictive.quantile(q) == (p.cumsum(0) < q).sum(0)).all()
    assert (predictive.cdf(-1.0) == 0).all()
    low, high = predictive.interval(0.9)
    assert (predictive.cdf(high) - predictive.cdf(low - 1) >= 0.9).all()


@pytest.mark.parametrize("case", CASES)
def test_predictives_in_parts_answer_the_same(case):
    likelihood, _, _ = CASES[case]
    network = bdl.nets.mlp(1, 4 if case.endswith("head") else 2)
    model = bdl.Model(network, bdl.GaussianPrior(1.0), likelihood)
    stack, x = model.sample_prior(5, seed=0, dtype=G), torch.linspace(-1, 1, 6, dtype=G)[:, None]
    y = targets(2).abs().floor()
    whole, parts = bdl.predict(model, stack, x), bdl.predict(model, stack, x, chunk_size=2)
    assert isinstance(parts, bdl.StreamedPredictive)
    for name in ("mean", "epistemic_std", "aleatoric_std", "total_std"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    torch.testing.assert_close(parts.log_prob(y), whole.log_prob(y))
    torch.testing.assert_close(parts.quantile(0.8), whole.quantile(0.8))


def test_state_dicts_with_a_noise_of_the_likelihood(problem):
    model = problem[0]
    stack = model.sample_prior(2, seed=0)
    states = stack.state_dicts()
    assert set(states[0]) == {"layers.0.weight", "layers.0.bias", "likelihood.log_noise"}
    model.network.load_state_dict(states[0], strict=False)
    torch.testing.assert_close(bdl.Stack.from_state_dicts(states, model.layout).theta, stack.theta)
    plain = bdl.Stack.from_state_dicts([bdl.nets.mlp(1, 1).state_dict()], model.layout)
    assert plain.theta[0, -1] == 0  # the prior's median


# --- bad input ---


def test_bad_noise_is_named():
    x, y = torch.zeros(4, 1), torch.zeros(4)

    def fit(outputs, likelihood, y=y):
        return bdl.Model(bdl.nets.mlp(1, outputs), bdl.GaussianPrior(1.0), likelihood).check_data(x, y)

    with pytest.raises(ValueError, match="median has 3 values for a network of 2 output"):
        fit(2, bdl.Gaussian(bdl.LearnedNoise([1.0, 1.0, 1.0])))
    with pytest.raises(ValueError, match="two outputs per number of y.*has 1"):
        fit(1, bdl.Gaussian(bdl.NoiseHead()))
    with pytest.raises(ValueError, match=r"y must have shape \(N, 1\)"):
        fit(2, bdl.Gaussian(bdl.NoiseHead()), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="scale has 2 values for a network of 1 output"):
        fit(1, bdl.StudentT([1.0, 2.0]))
    with pytest.raises(ValueError, match="median must be positive"):
        bdl.LearnedNoise([1.0, 0.0])
    with pytest.raises(ValueError, match="factor must be more than 1"):
        bdl.LearnedNoise(1.0, 0.5)
    with pytest.raises(ValueError, match="dof must be positive"):
        bdl.StudentT(1.0, dof=0)
    with pytest.raises(ValueError, match="counts 0, 1, 2.*got -1"):
        fit(1, bdl.Poisson(), torch.tensor([0, 1, -1, 2]))
    with pytest.raises(ValueError, match="counts 0, 1, 2.*got 0.5"):
        fit(1, bdl.Poisson(), torch.tensor([0.5, 1, 1, 2]))
    with pytest.raises(TypeError, match="counts for a Poisson likelihood, got torch.bool"):
        fit(1, bdl.Poisson(), y > 0)
