"""What every posterior answers, whatever made it: functions, predictions, cost, and the way to disk and back."""

import pytest
import torch

import bdlcore as bdl

X = torch.linspace(-1, 1, 16)[:, None]
Y = (3 * X[:, 0]).sin()
MODEL = bdl.Model(bdl.nets.mlp(1, 5, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.2))
FEATURES = torch.cat([X, X**2], 1)
BRIEF = {"initial_steps": 20}


def laplace(structure):
    return lambda: bdl.laplace(MODEL, X, Y, structure=structure, modes=2, steps=200, lr=0.05)


FITS = {
    "HMC": lambda: bdl.hmc(MODEL, X, Y, chains=2, draws=5, warmup=10, leapfrog_steps=5, **BRIEF),
    "SGLD": lambda: bdl.sgld(MODEL, X, Y, chains=2, draws=5, warmup=5, thinning=1, **BRIEF),
    "SGHMC": lambda: bdl.sghmc(MODEL, X, Y, chains=2, draws=5, warmup=5, thinning=1, **BRIEF),
    "mean-field VI": lambda: bdl.mean_field_vi(MODEL, X, Y, members=2, draws=5, steps=10, **BRIEF),
    "MultiSWAG": lambda: bdl.swag(MODEL, X, Y, members=2, draws=5, snapshots=4, lr=1e-4, **BRIEF),
    "deep ensemble": lambda: bdl.ensemble(MODEL, X, Y, members=4, steps=10),
    "Laplace (full)": laplace("full"),
    "Laplace (kron)": laplace("kron"),
    "Laplace (diagonal)": laplace("diagonal"),
    "Laplace (last_layer)": laplace("last_layer"),
    "Gaussian process": lambda: bdl.gaussian_process(bdl.RBF(0.5), X.double(), Y, noise_std=0.2),
    "linear regression": lambda: bdl.linear_regression(FEATURES, Y, prior_std=1.0, noise_std=0.2),
}
CONTEXT = {"Gaussian process": (bdl.RBF(0.5),), "linear regression": ()}
pytestmark = pytest.mark.filterwarnings("ignore:.*(not at a mode|hardly moved|climbed|diverged)")


@pytest.fixture(scope="module")
def fitted():
    made = {}

    def fit(name):
        if name not in made:
            made[name] = FITS[name]()
        return made[name]

    return fit


def same(a, b):
    """Equal in every tensor, number and text, bit for bit."""
    assert type(a) is type(b)
    for name, value in vars(a).items():
        other = vars(b)[name]
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, other, rtol=0, atol=0, equal_nan=True)  # no ESS of few draws
        elif isinstance(value, bdl.Stack | bdl.MeanField | bdl.SwagState):
            same(value, other)
        elif isinstance(value, int | float | str | bdl.Layout | None):
            assert value == other, name


@pytest.mark.parametrize("name", FITS)
def test_every_posterior_answers_the_same_questions(fitted, name):
    posterior = fitted(name)
    assert isinstance(posterior, bdl.AnyPosterior)
    assert posterior.method == name and posterior.seconds > 0
    assert (posterior.gradient_evaluations > 0) == (name not in CONTEXT)
    at = {"linear regression": FEATURES, "Gaussian process": X.double()}.get(name, X)
    f, predictive = posterior.functions(at), posterior.predict(at)
    assert f.shape[1:] == (16, 1) and predictive.mean.shape == predictive.epistemic_std.shape == (16, 1)
    assert predictive.log_prob(Y).shape == predictive.log_prob(Y[:, None]).shape == (16,)
    low, high = predictive.interval(0.9)
    assert low.shape == (16, 1) and (
        predictive.cdf(high) - predictive.cdf(low)
    ).mean().item() == pytest.approx(0.9, abs=1e-3)
    if name not in CONTEXT:
        torch.testing.assert_close(bdl.predict(MODEL, posterior, X).mean, predictive.mean)


@pytest.mark.parametrize("name", FITS)
def test_saving_and_loading_changes_nothing(fitted, name, tmp_path):
    posterior, path = fitted(name), tmp_path / "posterior.safetensors"
    posterior.save(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    back = type(posterior).load(path, *CONTEXT.get(name, (MODEL,)))
    same(posterior, back)
    at = {"linear regression": FEATURES, "Gaussian process": X.double()}.get(name, X)
    # not to the last bit: rounding depends on where in memory a matrix lies, and a kernel's is badly conditioned
    torch.testing.assert_close(back.functions(at), posterior.functions(at), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        back.predict(at).log_prob(Y), posterior.predict(at).log_prob(Y), rtol=1e-6, atol=1e-6
    )
    if name.startswith("Laplace"):
        torch.testing.assert_close(back.log_marginal_likelihood(0.7), posterior.log_marginal_likelihood(0.7))


def test_what_cannot_be_loaded_is_named(fitted, tmp_path):
    path = tmp_path / "posterior.safetensors"
    with pytest.raises(FileNotFoundError, match="There is no file"):
        bdl.Posterior.load(path, MODEL)
    fitted("HMC").save(path)
    wider = bdl.Model(bdl.nets.mlp(1, 6, 1), MODEL.prior, MODEL.likelihood)
    with pytest.raises(ValueError, match="another network or prior"):
        bdl.Posterior.load(path, wider)
    with pytest.raises(ValueError, match="holds no Laplace posterior"):
        bdl.LaplacePosterior.load(path, MODEL)
    whole = path.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"not a file of tensors", b"\0" * 100):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="cut off, empty or something else"):
            bdl.Posterior.load(path, MODEL)
        with pytest.raises(ValueError, match="cut off, empty or something else"):
            bdl.Stack.load(path)


def test_another_models_posterior_does_not_predict_for_this_one(fitted):
    other = bdl.Model(MODEL.network, MODEL.prior, bdl.Gaussian(0.9))
    with pytest.raises(ValueError, match="fitted to another model"):
        bdl.predict(other, fitted("Laplace (full)"), X)
    # a stack is just settings of the weights: the likelihood may be another
    assert bdl.predict(other, fitted("HMC"), X).noise_std == 0.9


def test_what_is_no_posterior_is_named():
    with pytest.raises(TypeError, match="or a Stack; got Tensor"):
        bdl.predict(MODEL, torch.zeros(3, 16), X)
