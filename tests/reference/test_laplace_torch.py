"""Evidence and predictive of Laplace's approximation against laplace-torch, at the same weights, in float64."""

import copy
import time
import warnings

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import bdlcore as bdl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from laplace import Laplace

pytestmark = pytest.mark.filterwarnings("ignore")
THEIRS = {
    "full": ("all", "full"),
    "diagonal": ("all", "diag"),
    "last_layer": ("last_layer", "full"),
    "kron": ("all", "kron"),
}


def regression(dtype=torch.float64):
    x, y = bdl.data.two_clusters(60)
    model = bdl.Model(bdl.nets.mlp(1, 20, 20, 1), bdl.GaussianPrior(0.5), bdl.Gaussian(0.1))
    return model, x.to(dtype), y.to(dtype)


def classes(dtype=torch.float64):
    digits = bdl.data.digits(150, flatten=True)
    model = bdl.Model(bdl.nets.mlp(64, 8, 10), bdl.GaussianPrior(0.4), bdl.Categorical())
    return model, digits.x.to(dtype), digits.y


def images(dtype=torch.float64):
    digits = bdl.data.digits(60)
    network = bdl.nets.cnn(channels=(2, 3), hidden=0, activation="tanh")
    return bdl.Model(network, bdl.GaussianPrior(0.4), bdl.Categorical()), digits.x.to(dtype), digits.y


PROBLEMS = [regression, classes, images]


def fit_theirs(model, modes, x, y, structure):
    """laplace-torch at the same weights."""
    network = copy.deepcopy(model.network).to(x.dtype)
    network.load_state_dict(modes.state_dicts()[0])
    subset, hessian = THEIRS[structure]
    settings = {"prior_precision": model.prior.std**-2}
    if isinstance(model.likelihood, bdl.Gaussian):
        kind, y = "regression", y[:, None]
        settings["sigma_noise"] = model.likelihood.noise_std
    else:
        kind = "classification"
    theirs = Laplace(network, kind, subset_of_weights=subset, hessian_structure=hessian, **settings)
    theirs.fit(DataLoader(TensorDataset(x, y), batch_size=len(x)))
    return theirs


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("structure", ["full", "diagonal", "last_layer"])
def test_evidence_and_predictive(problem, structure):
    model, x, y = problem()
    modes = bdl.laplace(model, x, y, steps=300).modes
    ours = bdl.laplace(model, x, y, structure=structure, modes=modes)
    theirs = fit_theirs(model, modes, x, y, structure)
    same = {"rel": 1e-6, "abs": 2e-4}  # it makes the matrix of a regression in float32
    assert ours.log_marginal_likelihood().item() == pytest.approx(
        theirs.log_marginal_likelihood().item(), **same
    )

    other = {"prior_precision": torch.tensor(0.8**-2, dtype=x.dtype)}
    noise = {}
    if isinstance(model.likelihood, bdl.Gaussian):
        other["sigma_noise"], noise["noise_std"] = torch.tensor(0.2, dtype=x.dtype), 0.2
    want = theirs.log_marginal_likelihood(**other).item()
    assert ours.log_marginal_likelihood(0.8, **noise).item() == pytest.approx(want, **same)
    if structure != "last_layer":  # one prior std per parameter tensor
        stds = torch.linspace(0.3, 1.5, len(model.layout.names), dtype=x.dtype)
        want = theirs.log_marginal_likelihood(**other | {"prior_precision": stds**-2}).item()
        assert ours.log_marginal_likelihood(stds, **noise).item() == pytest.approx(want, **same)

    theirs = fit_theirs(model, modes, x, y, structure)
    f_mean, f_covariance = theirs._glm_predictive_distribution(x[:20])
    draws = ours.functions(x[:20], 2, seed=0)
    assert draws.shape == (2, 20, f_mean.shape[1])
    mean, covariance = ours._moments(0, x[:20])
    torch.testing.assert_close(mean, f_mean)
    torch.testing.assert_close(
        covariance, f_covariance, rtol=1e-4, atol=1e-6 * f_covariance.abs().max().item()
    )
    predictive = ours.predict(x[:20], 20_000) if noise == {} else ours.predict(x[:20])
    if noise:
        torch.testing.assert_close(predictive.epistemic_std.square(), f_covariance[..., 0], rtol=1e-4, atol=0)
    else:
        torch.manual_seed(0)
        averaged = theirs(x[:20], pred_type="glm", link_approx="mc", n_samples=20_000)
        torch.testing.assert_close(predictive.probabilities, averaged, rtol=0, atol=0.01)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_kronecker_factors(problem):
    """laplace-torch takes the bias of a layer as independent of its weights, which bdlcore does not."""
    model, x, y = problem()
    modes = bdl.laplace(model, x, y, steps=300).modes
    ours = bdl.laplace(model, x, y, structure="kron", modes=modes)
    theirs = fit_theirs(model, modes, x, y, "kron")
    log_det = 0
    for P, Q in ours.curvatures[0].factors.values():
        for part in (P[:-1, :-1], P[-1:, -1:]):
            p, q = torch.linalg.eigvalsh(part), torch.linalg.eigvalsh(Q)
            log_det += torch.log1p(torch.outer(q, p)).sum().item()
    separate = ours.log_marginal_likelihood() + 0.5 * (ours.curvatures[0].log_det() - log_det)
    assert separate.item() == pytest.approx(theirs.log_marginal_likelihood().item(), rel=1e-6)
    assert ours.log_marginal_likelihood().item() == pytest.approx(separate.item(), rel=0.05)


def test_speed(record_property):
    """Fit and evidence, in turns, the best of seven, in CPU time; in float32, as both are mostly used."""
    lines = [f"{'problem':>10}  {'structure':>10}  {'bdlcore':>8}  {'laplace-torch':>13}  ratio"]
    for problem in PROBLEMS:
        model, x, y = problem(torch.float32)
        modes = bdl.laplace(model, x, y, steps=300).modes
        for structure in THEIRS:
            ours, theirs = [], []
            for _ in range(7):
                start = time.process_time()
                bdl.laplace(model, x, y, structure=structure, modes=modes).log_marginal_likelihood()
                ours.append(time.process_time() - start)
                start = time.process_time()
                fit_theirs(model, modes, x, y, structure).log_marginal_likelihood()
                theirs.append(time.process_time() - start)
            a, b = 1e3 * min(ours), 1e3 * min(theirs)
            lines.append(f"{problem.__name__:>10}  {structure:>10}  {a:5.1f} ms  {b:10.1f} ms  {b / a:5.1f}")
    record_property("summary", "\n".join(lines))
