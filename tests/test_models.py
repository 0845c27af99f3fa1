"""Networks and models: a stack gives what a loop over single networks gives, values and gradients."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

import bdlcore as bdl

NETWORKS = {
    "mlp tanh": (lambda: bdl.nets.mlp(3, 7, 5, 2), (6, 3)),
    "mlp relu": (lambda: bdl.nets.mlp(3, 7, 5, 2, activation="relu"), (6, 3)),
    "mlp erf (autograd)": (lambda: bdl.nets.mlp(3, 7, 2, activation="erf"), (6, 3)),
    "mlp one input one output": (lambda: bdl.nets.mlp(1, 8, 8, 1), (6, 1)),
    "mlp of width one": (lambda: bdl.nets.mlp(2, 1, 1, 2), (6, 2)),
    "linear": (lambda: bdl.nets.mlp(3, 2), (6, 3)),
    "images into mlp": (lambda: bdl.nets.mlp(16, 5, 3), (6, 1, 4, 4)),
    "cnn": (lambda: bdl.nets.cnn((2, 8, 8), (3, 4), 5, 3), (6, 2, 8, 8)),
    "cnn without hidden layer": (
        lambda: bdl.nets.cnn((1, 4, 4), (3,), 0, 3, activation="tanh"),
        (6, 1, 4, 4),
    ),
    "cnn circular, strided, 5x5": (
        lambda: bdl.nets.cnn((1, 7, 9), (2, 3), 0, 3, kernel=5, padding="circular", pooling="stride"),
        (6, 1, 7, 9),
    ),
    "cnn max pooling": (lambda: bdl.nets.cnn((1, 9, 8), (2, 3), 4, 3, pooling="max"), (6, 1, 9, 8)),
    "cnn averaged over its maps": (
        lambda: bdl.nets.cnn((2, 5, 6), (3,), 4, 3, padding="circular", pooling="none", head="mean"),
        (6, 2, 5, 6),
    ),
    "any module": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.GroupNorm(2, 4), nn.SiLU(), nn.Linear(4, 2)),
        (6, 3),
    ),
}


@pytest.fixture(params=NETWORKS, ids=str)
def network_and_x(request):
    make, shape = NETWORKS[request.param]
    return make(), torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def looped(model, stack, x):
    """The same outputs by calling the module itself, one setting of its weights at a time."""
    network = model.network.double()
    return torch.stack([functional_call(network, state, (x,)) for state in stack.state_dicts()])


def test_stack_equals_loop(network_and_x):
    network, x = network_and_x
    model = bdl.Model(network, bdl.GaussianPrior(0.8, fan_in=True), bdl.Gaussian(1.0))
    stack = model.sample_prior(5, seed=0, dtype=x.dtype)
    want = looped(model, stack, x)
    torch.testing.assert_close(model.functions(stack, x), want)
    torch.testing.assert_close(model.functions(stack, x, chunk_size=2), want)
    torch.testing.assert_close(
        model.functions(stack.to(torch.float32), x.float()).double(), want, rtol=1e-4, atol=1e-5
    )


def test_gradient_equals_finite_differences(network_and_x):
    network, x = network_and_x
    model = bdl.Model(network, bdl.GaussianPrior(0.8, fan_in=True), bdl.Gaussian(1.0))
    weights = model.sample_prior(3, seed=0, dtype=x.dtype).weights.requires_grad_()
    torch.autograd.gradcheck(lambda w: model.forward_weights(w, x), weights, fast_mode=True)


def test_pullback_equals_autograd(network_and_x):
    network, x = network_and_x
    model = bdl.Model(network, bdl.GaussianPrior(0.8, fan_in=True), bdl.Gaussian(1.0))
    weights = model.sample_prior(3, seed=0, dtype=x.dtype).weights
    f, pull = model.pullback(weights, x)
    g = torch.randn(f.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    weights.requires_grad_()
    want = model.forward_weights(weights, x)
    torch.testing.assert_close(f, want.detach())
    torch.testing.assert_close(pull(g), torch.autograd.grad(want, weights, g)[0])


def test_log_joint_against_torch_distributions(model, regression):
    x, y = regression
    stack = model.sample_prior(4, seed=0, dtype=x.dtype)
    f = looped(model, stack, x)
    likelihood = torch.distributions.Normal(f, 0.3).log_prob(y).sum((1, 2))
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(stack.theta).sum(1)
    torch.testing.assert_close(model.log_joint(stack.theta, x, y), likelihood + prior)


def test_categorical_likelihood_against_torch_distributions():
    f, y = torch.randn(4, 6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0])
    want = torch.distributions.Categorical(logits=f).log_prob(y)
    torch.testing.assert_close(bdl.Categorical().log_prob(f, y), want)


@pytest.mark.parametrize("likelihood", [bdl.Gaussian(0.3), bdl.Categorical()], ids=repr)
def test_slope_is_the_gradient_of_log_prob(likelihood):
    f = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    y = (
        torch.randn(6, 3).double()
        if isinstance(likelihood, bdl.Gaussian)
        else torch.tensor([0, 1, 2, 2, 1, 0])
    )
    (want,) = torch.autograd.grad(likelihood.log_prob(f, y).sum(), f)
    torch.testing.assert_close(likelihood.slope(f.detach(), y), want)


def test_a_likelihood_needs_no_slope(model, regression):
    """One's own likelihood may bring log_prob alone; autograd does the rest."""

    class Laplace:
        def targets(self, y, outputs, like):
            return y

        def log_prob(self, f, y):
            return torch.distributions.Laplace(f, 0.2).log_prob(y).sum(-1)

    x, y = regression
    own = bdl.Model(model.network, model.prior, Laplace())
    theta = own.sample_prior(3, seed=0, dtype=x.dtype).theta.requires_grad_()
    want = own.log_joint(theta, x, y)
    value, gradient = bdl.LogPosterior(own, x, y)(theta.detach())
    torch.testing.assert_close(value, want.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(want.sum(), theta)[0])


def test_likelihood_samples_have_the_right_moments():
    g = torch.Generator().manual_seed(0)
    y = bdl.Gaussian(0.5).sample(torch.full((20_000, 1), 2.0), g)
    assert y.mean().item() == pytest.approx(2, abs=0.02) and y.std().item() == pytest.approx(0.5, rel=0.02)
    p = torch.tensor([0.2, 0.5, 0.3])
    labels = bdl.Categorical().sample(p.log().expand(20_000, 3), g)
    torch.testing.assert_close(labels.bincount() / 20_000, p, rtol=0, atol=0.02)


@pytest.mark.parametrize("T", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("T_lik", [0.5, 1.0, 3.0])
def test_temperature_divides_the_right_terms(model, regression, T, T_lik):
    x, y = regression
    theta = model.sample_prior(3, seed=0, dtype=x.dtype).theta.requires_grad_()
    want = (model.log_likelihood(theta, x, y) / T_lik + model.log_prior(theta)) / T
    (slope,) = torch.autograd.grad(want.sum(), theta)
    for temperatures in [(T, T_lik), (torch.full((3,), T), torch.full((3,), T_lik))]:
        value, gradient = bdl.LogPosterior(model, x, y, *temperatures, chunk_size=2)(theta.detach())
        torch.testing.assert_close(value, want.detach())
        torch.testing.assert_close(gradient, slope)


def test_minibatches_estimate_the_full_gradient_without_bias(model, regression):
    x, y = regression
    density = bdl.LogPosterior(model, x, y, 0.7, 2.0)
    theta = model.sample_prior(3, seed=0, dtype=x.dtype).theta
    value, gradient = density(theta)
    batches = [density.on_batch(index)(theta) for index in torch.arange(12).split(4)]
    torch.testing.assert_close(sum(v for v, _ in batches) / 3, value)
    torch.testing.assert_close(sum(g for _, g in batches) / 3, gradient)


def test_predicting_in_chunks_bounds_memory(model):
    stack = model.sample_prior(7, seed=0)
    seen = []
    original = model.forward
    model.forward = lambda theta, x: seen.append(len(theta)) or original(theta, x)
    model.functions(stack, torch.randn(5, 1), chunk_size=3)
    assert seen == [3, 3, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x": torch.full((12, 1), torch.nan)},
            r"x contains 12 NaN or infinite value\(s\), the first at index \(0, 0\)",
        ),
        ({"x": torch.empty(0, 1)}, r"x is empty"),
        ({"x": torch.zeros(12)}, r"use x\[:, None\]"),
        ({"x": torch.zeros(12, 3)}, r"takes 1 input\(s\), got x of shape \(12, 3\)"),
        ({"x": torch.zeros(11, 1)}, r"same length, got 11 inputs and 12 targets"),
        ({"y": torch.full((12, 2), torch.inf)}, r"y contains 24 NaN or infinite"),
        ({"y": torch.zeros(12, 3)}, r"y must have shape \(N, 2\)"),
    ],
)
def test_bad_data_is_named(model, change, message):
    data = {"x": torch.zeros(12, 1), "y": torch.zeros(12, 2)} | change
    with pytest.raises(ValueError, match=message):
        model.check_data(**data)


def test_bad_labels_are_named():
    model = bdl.Model(bdl.nets.mlp(1, 3), bdl.GaussianPrior(), bdl.Categorical())
    x = torch.zeros(2, 1)
    with pytest.raises(ValueError, match=r"label 3; with 3 outputs labels must lie in 0..2"):
        model.check_data(x, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"label -1"):
        model.check_data(x, torch.tensor([-1, 0]))
    with pytest.raises(TypeError, match="integer labels"):
        model.check_data(x, torch.zeros(2))
    with pytest.raises(TypeError, match="floating-point dtype"):
        model.check_data(torch.zeros(2, 1, dtype=torch.long), torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="must be a torch.Tensor"):
        model.check_data([[0.0]], torch.tensor([0]))


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_standard_deviations_must_be_positive(std):
    for make in (bdl.GaussianPrior, bdl.Gaussian):
        with pytest.raises(ValueError, match="std must be positive and finite"):
            make(std)


def test_a_stack_of_another_network_is_refused(model):
    other = bdl.Model(bdl.nets.mlp(1, 11, 2), bdl.GaussianPrior(0.7), bdl.Gaussian(0.3))
    with pytest.raises(ValueError, match="does not belong to this model"):
        model.functions(other.sample_prior(2, seed=0), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="float64 .* but the stack is torch.float32"):
        model.functions(model.sample_prior(2, seed=0), torch.zeros(3, 1, dtype=torch.float64))
    with pytest.raises(TypeError, match="must be a bdlcore Stack"):
        model.functions(torch.zeros(2, 42), torch.zeros(3, 1))


def test_networks_without_a_likelihood_per_datum_are_refused():
    for layer, message in [(nn.BatchNorm1d(4), "BatchNorm"), (nn.Dropout(0.1), "dropout")]:
        with pytest.raises(ValueError, match=message):
            bdl.Model(nn.Sequential(nn.Linear(3, 4), layer), bdl.GaussianPrior(), bdl.Gaussian(1.0))
    with pytest.raises(ValueError, match="no parameters"):
        bdl.Model(nn.Identity(), bdl.GaussianPrior(), bdl.Gaussian(1.0))


def test_impossible_networks_are_refused():
    with pytest.raises(ValueError, match="Unknown activation 'step'"):
        bdl.nets.mlp(1, 2, activation="step")
    with pytest.raises(ValueError, match="at least an input and an output"):
        bdl.nets.mlp(3)
    with pytest.raises(ValueError, match="at least 16 pixels"):
        bdl.nets.cnn((1, 8, 8), (2, 2, 2, 2))
    with pytest.raises(ValueError, match="Unknown padding 'reflect'; choose one of zeros, circular"):
        bdl.nets.cnn(padding="reflect")
    with pytest.raises(ValueError, match="kernel must be odd"):
        bdl.nets.cnn(kernel=4)
    with pytest.raises(ValueError, match="sizes must be at least 1, got 0"):
        bdl.nets.mlp(1, 0, 1)
    with pytest.raises(ValueError, match="images of shape"):
        bdl.nets.cnn((1, 8, 8)).check_inputs(torch.zeros(2, 64))


def test_circular_convolutions_shift_with_the_image():
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def maps(x, **options):
        network = bdl.nets.cnn((1, 8, 8), (3, 4), 0, **options)
        model = bdl.Model(network, bdl.GaussianPrior(1.0), bdl.Categorical())
        return network.feature_maps(model.sample_prior(3, 0, dtype=x.dtype).weights, x)

    def error(pixels, step, **options):
        moved = maps(x.roll(pixels, 3), **options)
        return (moved - maps(x, **options).roll(step, 4)).abs().max().item()

    assert maps(x).shape == (3, 2, 4, 2, 2)
    assert error(3, 3, padding="circular", pooling="none") < 1e-12
    assert error(3, 3, padding="zeros", pooling="none") > 1e-3
    for pooling in ("average", "max", "stride"):
        assert error(4, 1, padding="circular", pooling=pooling) < 1e-12
        assert error(1, 0, padding="circular", pooling=pooling) > 1e-3
