"""One figure bounds memory: peaks of whole runs counted by allocations, and a word before what cannot fit."""

from functools import partial

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import bdlcore as bdl
from bdlcore._support import memory

SOURCES = {
    "hmc": lambda *data: bdl.hmc(
        *data, chains=2, draws=2, warmup=2, leapfrog_steps=2, step_size=1e-3, initial_steps=1
    ),
    "sgld": lambda *data: bdl.sgld(*data, chains=2, draws=2, warmup=2, batch_size=32, initial_steps=2),
    "sghmc": lambda *data: bdl.sghmc(*data, chains=2, draws=2, warmup=2, batch_size=32, initial_steps=2),
    "vi": lambda *data: bdl.mean_field_vi(*data, members=2, steps=3, draws=2, initial_steps=2),
    "swag": lambda *data: bdl.swag(
        *data, members=2, draws=2, snapshots=2, every=2, batch_size=32, initial_steps=2
    ),
    "ensemble": lambda *data: bdl.ensemble(*data, members=2, steps=3),
    "laplace": lambda *data: bdl.laplace(*data, modes=1, steps=3, refine_steps=2, structure="last_layer"),
}


def peak(run) -> int:
    """The most bytes that PyTorch held at a time while run() ran, beyond those that it began with."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    held = most = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def allocated(run) -> int:
    """The bytes of all tensors that run() makes, however short they live."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    events = record.profiler.kineto_results.events()
    return sum(max(event.nbytes(), 0) for event in events if event.name() == "[memory]")


def wide(N):
    """A network whose activations are 500 times as large as its inputs."""
    g = torch.Generator().manual_seed(0)
    model = bdl.Model(bdl.nets.mlp(1, 500, 1), bdl.GaussianPrior(1.0, fan_in=True), bdl.Gaussian(0.5))
    return model, torch.randn(N, 1, generator=g), torch.randn(N, 1, generator=g)


def test_the_meter_counts_bytes():
    def run():
        a = torch.zeros(1000, 500)
        b = a + 1
        del a
        return b * 2

    assert 4_000_000 <= peak(run) < 4_000_100


def test_a_gradient_makes_two_tensors_of_the_size_of_the_stack():
    """The weights and the gradient. New memory costs a large stack more than the arithmetic."""
    model = bdl.Model(bdl.nets.mlp(600, 60, 1), bdl.GaussianPrior(1.0, fan_in=True), bdl.Gaussian(0.5))
    g = torch.Generator().manual_seed(0)
    density = bdl.LogPosterior(model, torch.randn(2, 600, generator=g), torch.randn(2, 1, generator=g))
    theta = model.sample_prior(10, seed=0).theta
    size = theta.numel() * theta.element_size()
    for gradient in (density.gradient, density.likelihood):
        gradient(theta)
        assert allocated(lambda gradient=gradient: gradient(theta)) < 2.1 * size
    assert (
        allocated(lambda: density(theta)) < 3.1 * size
    )  # the squares for the prior's density, a few rows at a time


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_peak_of_a_run_does_not_grow_with_the_data(source, monkeypatch):
    monkeypatch.setattr(memory, "PASS", 2**18)
    monkeypatch.setattr(memory, "WORKSPACE", 2**21)
    few, many = wide(500), wide(2000)
    run = SOURCES[source]
    run(*few)  # what is made once
    growth = peak(lambda: run(*many)) - peak(lambda: run(*few))
    copies = 6 * (many[1].nbytes + many[2].nbytes - few[1].nbytes - few[2].nbytes)  # in float64, and targets
    assert growth < copies, f"{growth / 1e6:.1f} MB for {copies / 1e6:.1f} MB of data"


LONGER = {  # runs of n steps
    "hmc": lambda n, *data: bdl.hmc(*data, chains=2, draws=2, warmup=n, leapfrog_steps=2, initial_steps=n),
    "sgld": lambda n, *data: bdl.sgld(*data, chains=2, draws=2, warmup=n, batch_size=8, initial_steps=n),
    "sghmc": lambda n, *data: bdl.sghmc(*data, chains=2, draws=2, warmup=n, batch_size=8, initial_steps=n),
    "vi": lambda n, *data: bdl.mean_field_vi(*data, members=2, steps=n, draws=2, initial_steps=n),
    "swag": lambda n, *data: bdl.swag(
        *data, members=2, draws=2, rank=3, snapshots=n, every=1, batch_size=8, initial_steps=n, lr=1e-5
    ),
    "ensemble": lambda n, *data: bdl.ensemble(*data, members=2, steps=n),
}


@pytest.mark.parametrize("source", LONGER)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_peak_of_a_run_does_not_grow_with_its_steps(source):
    """Beyond the curves that are returned: some numbers per row and step, where weights have 1,501."""
    run, data = LONGER[source], wide(20)
    run(10, *data)  # what is made once
    growth = peak(lambda: run(40, *data)) - peak(lambda: run(10, *data))
    assert growth < 30 * 2 * 50 * data[1].element_size()


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_the_peak_of_a_curvature_product_does_not_grow_with_the_data(kind, monkeypatch):
    monkeypatch.setattr(memory, "PASS", 2**18)
    peaks = []
    for N in (500, 2000):
        model, x, y = wide(N)
        stack = model.sample_prior(3, seed=0)
        product = bdl.curvature_product(model, stack, x, y, kind)
        peaks.append(peak(partial(product, stack.theta)))
    assert peaks[1] < 1.2 * peaks[0]


def test_the_peak_of_a_prediction_is_its_values_and_a_pass():
    """64 filters make 2,304 values of each of 2,000 images, 74 MB for four rows."""
    layers = torch.nn.Conv2d(1, 64, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64 * 36, 2)
    model = bdl.Model(torch.nn.Sequential(*layers), bdl.GaussianPrior(1.0, fan_in=True), bdl.Categorical())
    x, stack = torch.randn(2000, 1, 8, 8), model.sample_prior(4, seed=0)
    assert peak(lambda: bdl.predict(model, stack, x).probabilities) < 5 * memory.PASS < 4 * 4 * 2304 * 2000


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"laplace"}))
def test_settings_that_do_not_fit_are_refused_before_any_work(source, monkeypatch):
    model, x, y = wide(20)
    monkeypatch.setattr(memory, "WORKSPACE", 1000)
    monkeypatch.setattr(memory, "available", lambda device: 8 * model.layout.dim - 1)

    def work(*_, **__):
        raise AssertionError("a gradient was computed")

    monkeypatch.setattr(bdl.LogPosterior, "_evaluate", work)
    with pytest.raises(
        MemoryError, match=r"of 1,501 weights take .* GB, and .* GB are free on cpu\. .*range\(0, 2\)"
    ):
        SOURCES[source](model, x, y)


@pytest.mark.filterwarnings("ignore:The weights are not at a mode")
def test_draws_that_do_not_fit_are_refused(monkeypatch):
    model, x, y = wide(20)
    posterior = bdl.laplace(model, x, y, steps=2, refine_steps=0, structure="diagonal")
    q = bdl.mean_field_vi(model, x, y, steps=2, initial_steps=0).approximation
    monkeypatch.setattr(memory, "WORKSPACE", 1000)
    monkeypatch.setattr(memory, "available", lambda device: 40 * model.layout.dim)
    for ask in (
        lambda: model.sample_prior(11, seed=0),
        lambda: posterior.sample(11),
        lambda: q.sample(11, seed=0),
    ):
        with pytest.raises(MemoryError, match="11 draws of 1,501 weights take"):
            ask()
    assert len(model.sample_prior(10, seed=0)) == 10
