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


@pytest.mark.parametrize("rows", [3, 12])  # few and many are multiplied in different ways
def test_pullback_equals_autograd(network_and_x, rows):
    network, x = network_and_x
    model = bdl.Model(network, bdl.GaussianPrior(0.8, fan_in=True), bdl.Gaussian(1.0))
    weights = model.sample_prior(rows, seed=0, dtype=x.dtype).weights
    f, pull = model.pullback(weights, x)
    g = torch.randn(f.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    weights.requires_grad_()
    want = model.forward_weights(weights, x)
    torch.testing.assert_close(f, want.detach())
    torch.testing.assert_close(pull(g), torch.autograd.grad(want, weights, g)[0])


@pytest.mark.parametrize("rows", [3, 12])
def test_pullback_at_a_place_is_that_of_the_weights_put_there(network_and_x, rows):
    """Its memory serves again and again: other weights, other inputs, fewer of them."""
    network, x = network_and_x
    model = bdl.Model(network, bdl.GaussianPrior(0.8, fan_in=True), bdl.Gaussian(bdl.LearnedNoise(1.0)))
    stacks = [model.sample_prior(rows, seed=seed, dtype=x.dtype).weights for seed in range(3)]
    place = torch.empty_like(stacks[0])
    at = model.pullback_at(place)
    for weights, inputs in zip(stacks, (x, x.flip(0), x[:4]), strict=True):
        place.copy_(weights)
        f, pull = at(inputs)
        want, pull_there = model.pullback(weights, inputs)
        assert torch.equal(f, want)
        assert torch.equal(pull(want), pull_there(want))


def test_what_pullback_returns_is_the_callers_own(network_and_x):
    network, x = network_and_x
    model = bdl.Model(network, bdl.GaussianPrior(0.8, fan_in=True), bdl.Gaussian(1.0))
    one, other = (model.sample_prior(3, seed=seed, dtype=x.dtype).weights for seed in (0, 1))
    f, pull = model.pullback(one, x)
    pulled = pull(f)
    kept = f.clone(), pulled.clone()
    f_there, pull_there = model.pullback(other, x)
    pull_there(f_there)
    assert torch.equal(f, kept[0]) and torch.equal(pulled, kept[1])


def test_a_subclass_with_a_pullback_of_its_own_keeps_it():
    class Doubled(bdl.nets.MLP):
        def pullback(self, weights, x):
            f, pull = super().pullback(weights, x)
            return 2 * f, lambda g: pull(2 * g)

    model = bdl.Model(Doubled(1, 4, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(1.0))
    weights, x = model.sample_prior(2, seed=0).weights, torch.randn(5, 1)
    f, pull = model.pullback_at(weights)(x)
    want, pull_there = model.pullback(weights, x)
    assert torch.equal(f, want) and torch.equal(pull(f), pull_there(f))


def test_log_joint_against_torch_distributions(model, regression):
    x, y = regression
    stack = model.sample_prior(4, seed=0, dtype=x.dtype)
    f = looped(model, stack, x)
    likelihood = torch.distributions.Normal(f, 0.3).log_prob(y).sum((1, 2))
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(stack.theta).sum(1)
    torch.testing.assert_close(model.log_joint(stack.theta, x, y), likelihood + prior)


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
    with pytest.raises(ValueError, match=r"label 3; of 3 classes labels must lie in 0..2"):
        model.check_data(x, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"label -1"):
        model.check_data(x, torch.tensor([-1, 0]))
    with pytest.raises(TypeError, match="integer labels"):
        model.check_data(x, torch.zeros(2))
    with pytest.raises(TypeError, match="floating-point dtype"):
        model.check_data(torch.zeros(2, 1, dtype=torch.long), torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="must be a torch.Tensor"):
        model.check_data([[0.0]], torch.tensor([0]))


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
