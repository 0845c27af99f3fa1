"""Tempered log posteriors against their definition, and minibatches against all data."""

import pytest
import torch
from conjugate import conjugate
from torch.utils._python_dispatch import TorchDispatchMode

import bdlcore as bdl
from bdlcore._support import processor


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


@pytest.mark.parametrize(
    "likelihood", [bdl.Gaussian(0.3), bdl.Gaussian(bdl.LearnedNoise(median=0.5)), bdl.Categorical()]
)
@pytest.mark.parametrize("rows", [None, 2])
def test_the_gradient_alone_is_that_of_the_density_and_costs_no_density(
    likelihood, rows, regression, monkeypatch
):
    x, y = regression
    y = y.argmax(1) if isinstance(likelihood, bdl.Categorical) else y
    model = bdl.Model(bdl.nets.mlp(1, 6, 2), bdl.GaussianPrior(1.0), likelihood)
    theta = model.sample_prior(3, seed=0, dtype=x.dtype).theta
    density = bdl.LogPosterior(model, x, y, 0.7, 2.0, chunk_size=rows)
    _, gradient = density(theta)
    monkeypatch.setattr(type(likelihood), "log_prob", None)
    assert torch.equal(density.gradient(theta), gradient)


def test_many_temperatures_of_both_kinds_can_be_rows_of_one_density():
    case = conjugate()
    theta = case.model.sample_prior(4, seed=0, dtype=torch.float64).theta
    T = torch.tensor([0.1, 0.5, 1.0, 2.0], dtype=torch.float64)
    cold, gradient = bdl.LogPosterior(*case.data, temperature=T, likelihood_temperature=T.flip(0))(theta)
    for row in range(4):
        alone = bdl.LogPosterior(*case.data, T[row].item(), T[3 - row].item())
        value, slope = alone(theta[row : row + 1])
        torch.testing.assert_close(cold[row : row + 1], value)
        torch.testing.assert_close(gradient[row : row + 1], slope)


def test_minibatches_estimate_the_full_gradient_without_bias(model, regression):
    x, y = regression
    density = bdl.LogPosterior(model, x, y, 0.7, 2.0)
    theta = model.sample_prior(3, seed=0, dtype=x.dtype).theta
    value, gradient = density(theta)
    batches = [density.on_batch(index)(theta) for index in torch.arange(12).split(4)]
    torch.testing.assert_close(sum(v for v, _ in batches) / 3, value)
    torch.testing.assert_close(sum(g for _, g in batches) / 3, gradient)


def test_batches_go_through_the_data_and_fill_a_pass_of_their_own_size():
    x = torch.arange(10_000, dtype=torch.float32)[:, None]
    model = bdl.Model(bdl.nets.mlp(1, 64, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    density = bdl.LogPosterior(model, x, x[:, 0])
    batches = density.batches(100, torch.Generator().manual_seed(0))
    seen = [next(batches) for _ in range(101)]
    epoch = torch.cat([batch.x[:, 0] for batch in seen[:100]])
    assert torch.equal(epoch.sort().values, x[:, 0])
    assert not torch.equal(seen[0].x, seen[100].x)
    assert seen[0].chunk_size >= 10 * density.chunk_size
    given = bdl.LogPosterior(model, x, x[:, 0], chunk_size=3)
    assert next(given.batches(100, None)).chunk_size == 3
    assert next(density.batches(10_000, None)) is next(density.batches(None, None)) is density


@pytest.mark.parametrize("likelihood", [bdl.Gaussian(0.3), bdl.Categorical()], ids=repr)
def test_data_that_do_not_fit_into_a_pass_change_nothing(likelihood, monkeypatch):
    """The bound is one figure: no tensor on the way is larger than the pass, however many data there are."""
    model = bdl.Model(bdl.nets.mlp(1, 40, 2), bdl.GaussianPrior(1.0), likelihood)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 1, generator=g, dtype=torch.float64)
    y = torch.cat([x, -x], 1) if isinstance(likelihood, bdl.Gaussian) else (x[:, 0] > 0).long()
    theta = model.sample_prior(5, seed=0, dtype=torch.float64).theta
    T = torch.linspace(0.5, 2, 5)  # float32 beside float64: follows the data
    whole = bdl.LogPosterior(model, x, y, likelihood_temperature=T)(theta)
    monkeypatch.setattr("bdlcore._support.memory.PASS", 8 * 40 * 64)
    density, largest = bdl.LogPosterior(model, x, y, likelihood_temperature=T), Largest()
    with largest:
        parts = density(theta)
    torch.testing.assert_close(parts[0], whole[0])
    torch.testing.assert_close(parts[1], whole[1])
    assert largest.numel <= 40 * 64
    stack = bdl.Stack(theta, model.layout)
    f = model.functions(stack, x)
    monkeypatch.undo()
    torch.testing.assert_close(f, model.functions(stack, x))


class Sums(torch.nn.Module):
    """f(x) = x + sum(w): its gradient is one number, which autograd does not repeat in memory."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return x + self.w.sum()


def test_a_gradient_that_autograd_does_not_own_is_left_alone():
    model = bdl.Model(Sums(), bdl.GaussianPrior(2.0), bdl.Gaussian(0.5))
    x = torch.linspace(-1, 1, 6)[:, None]
    theta = model.sample_prior(3, seed=0).theta.requires_grad_()
    (slope,) = torch.autograd.grad(model.log_joint(theta, x, x).sum(), theta)
    for rows in (None, 2):
        gradient = bdl.LogPosterior(model, x, x, chunk_size=rows).gradient(theta.detach())
        torch.testing.assert_close(gradient, slope)


class Largest(TorchDispatchMode):
    """Watches for the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        for value in made if isinstance(made, tuple | list) else (made,):
            if (
                isinstance(value, torch.Tensor)
                and "view" not in str(function)
                and "slice" not in str(function)
            ):
                self.numel = max(self.numel, value.numel() if value.is_contiguous() else 0)
        return made


class Counted(TorchDispatchMode):
    """How many operations there were, views included: on a CPU calling them is what a small network costs."""

    operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations += 1
        return function(*args, **kwargs or {})


def test_a_gradient_makes_neither_views_of_weights_nor_memory_anew():
    model = bdl.Model(bdl.nets.mlp(1, 20, 20, 1), bdl.GaussianPrior(0.7), bdl.Gaussian(0.1))
    x, theta = torch.randn(30, 1), model.sample_prior(4, seed=0).theta
    density = bdl.LogPosterior(model, x, x.sin())
    density.gradient(theta)
    with Counted() as counted:
        density.gradient(theta)
    # weights 1; forward 3 layers, 3 transposes, 2 activations; slope 2; backward 3 sums, 3 products, a copy,
    # 4 transposes, 2 products with W, 2 derivatives; prior 4. Where tanh is made of a sigmoid, 2 more for each
    assert counted.operations <= 32 + 4 * processor.vector_functions_are_slow()


def test_many_small_products_are_one_call_of_the_matrix_library(monkeypatch):
    """Into a part of the gradient they would be a loop over rows, which takes up to three times as long."""
    model = bdl.Model(bdl.nets.mlp(3, 20, 10, 5), bdl.GaussianPrior(0.7), bdl.Categorical())
    x, theta = torch.randn(30, 3), model.sample_prior(16, seed=0).theta
    outputs, bmm = [], torch.bmm

    def watched(a, b, out=None):
        outputs.append(out)
        return bmm(a, b, out=out)

    monkeypatch.setattr(torch, "bmm", watched)
    bdl.LogPosterior(model, x, torch.arange(30) % 5).gradient(theta)
    assert len(outputs) == 5 and all(out.is_contiguous() for out in outputs)


def test_a_density_may_be_asked_at_other_stacks_in_between(regression):
    """Chunks of two lengths, both precisions, and copies at other temperatures share memory, never a result."""
    x, y = regression
    model = bdl.Model(bdl.nets.mlp(1, 6, 2), bdl.GaussianPrior(0.7), bdl.Gaussian(0.3))
    one, other = (model.sample_prior(5, seed=seed, dtype=x.dtype).theta for seed in (0, 1))
    density = bdl.LogPosterior(model, x, y, chunk_size=2)
    value, gradient = density(one)
    kept = value.clone(), gradient.clone()
    for theta in (other, other[:1], other[:3]):
        density(theta)
        cold = density.at(0.1, 1.0)(theta)
        assert all(map(torch.equal, cold, bdl.LogPosterior(model, x, y, 0.1, chunk_size=2)(theta)))
    assert torch.equal(value, kept[0]) and torch.equal(gradient, kept[1])
    assert all(map(torch.equal, density(one), kept))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(model, dtype):
    with pytest.raises(TypeError, match=r"sums over data .* get lost.*Use x.float\(\)"):
        model.check_data(torch.zeros(3, 1, dtype=dtype), torch.zeros(3, 2, dtype=dtype))


def test_targets_without_a_column_are_one_output():
    model = bdl.Model(bdl.nets.mlp(1, 4, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.3))
    x, theta = torch.randn(6, 1), model.sample_prior(3, seed=0).theta
    y = torch.randn(6)
    torch.testing.assert_close(model.log_joint(theta, x, y), model.log_joint(theta, x, y[:, None]))
    torch.testing.assert_close(model.log_joint(theta, x, y), bdl.LogPosterior(model, x, y)(theta)[0])
