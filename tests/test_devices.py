"""On a device without float64, and one whose values are slow to look at, everything works and loops do not look."""

import pytest
import torch
from small_device import DEVICE, Device, Remote

import bdlcore as bdl
from bdlcore._support import devices, processor
from bdlcore._support.devices import LOOKS
from bdlcore._support.randomness import generator
from bdlcore.dynamics.training import train_each


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setattr(devices, "WITHOUT_DOUBLE", {DEVICE.type})
    # the CPU's tanh is to round as the device's: along a chain the difference grows
    monkeypatch.setattr(processor, "vector_functions_are_slow", lambda: False)
    with Device() as on:
        yield on


def regression():
    x = torch.linspace(-1, 1, 12)[:, None]
    model = bdl.Model(bdl.nets.mlp(1, 5, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.2))
    return model, x, x.sin()


def classification():
    model, x, y = regression()
    return bdl.Model(bdl.nets.mlp(1, 5, 2), model.prior, bdl.Categorical()), x, (y[:, 0] > 0).long()


def there(model, x, y):
    return model, x.to(DEVICE), y.to(DEVICE)


MODEL = regression()[0]
SOURCES = {
    "hmc": lambda *data, n=15: bdl.hmc(
        *data, chains=2, draws=n, warmup=10, leapfrog_steps=2, initial_steps=2
    ),
    "sgld": lambda *data, n=15: bdl.sgld(
        *data, chains=2, draws=n, warmup=2, thinning=1, batch_size=4, initial_steps=2
    ),
    "sghmc": lambda *data, n=15: bdl.sghmc(*data, chains=2, draws=n, warmup=2, thinning=1, initial_steps=2),
    "vi": lambda *data, n=15: bdl.mean_field_vi(*data, members=2, steps=n, draws=3, initial_steps=2),
    "swag": lambda *data, n=15: bdl.swag(
        *data, members=2, draws=3, snapshots=n, every=1, batch_size=4, initial_steps=2, lr=1e-3
    ),
    "ensemble": lambda *data, n=15: bdl.ensemble(*data, members=2, steps=n),
}


def test_the_device_refuses_what_it_should():
    a = torch.ones(3, device=DEVICE)
    assert isinstance(a, Remote) and a.device == DEVICE and (2 * a).sum().item() == 6 and Device.looks == 1
    for double in (lambda: torch.zeros(3, device=DEVICE, dtype=torch.float64), lambda: a.double()):
        with pytest.raises(TypeError, match="no float64"):
            double()
    with pytest.raises(RuntimeError, match="on the CPU and on the device"):
        a + torch.ones(3)
    a.requires_grad_()
    assert isinstance(torch.autograd.grad((a**2).sum(), a)[0], Remote)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("data", [regression, classification])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sources_give_what_they_give_on_the_cpu(source, data):
    here, remote = (SOURCES[source](*place) for place in (data(), there(*data())))
    assert isinstance(remote.stack.theta, Remote)
    torch.testing.assert_close(remote.stack.theta.cpu(), here.stack.theta, rtol=1e-3, atol=1e-3)
    for name in ("rhat", "ess"):
        if getattr(here, name, None) is not None:
            torch.testing.assert_close(
                getattr(remote, name).cpu(), getattr(here, name), rtol=1e-2, atol=1e-2, equal_nan=True
            )


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_inner_loops_do_not_wait_for_the_device(source):
    """Looks do not grow with the steps, as long as these are fewer than from one look for dead rows to the next."""
    counts = []
    for n in (5, 25):
        Device.looks = 0
        SOURCES[source](*there(*regression()), n=n)
        counts.append(Device.looks)
    assert counts[0] == counts[1] and LOOKS > 25 + 10


class Slopes(torch.nn.Linear, bdl.nets.StackedModule):
    """A slope for each row of inputs (S, N, 1) of its own."""

    def forward_stack(self, weights, x):
        return weights[:, None] * x


LOOPS = {
    "deep image prior": lambda n: (
        bdl.deep_image_prior(
            torch.linspace(0, 1, 64).view(1, 8, 8).to(DEVICE),
            network=bdl.nets.Pixels((1, 8, 8)),
            steps=n,
            jitter_std=0,
            frames=2,
        ).stack
    ),
    "low-loss path": lambda n: bdl.low_loss_path(
        MODEL,
        bdl.Stack(MODEL.sample_prior(2, seed=0).theta.to(DEVICE), MODEL.layout),
        *there(*regression())[1:],
        steps=n,
    ).stack(3),
    "one data set for each row": lambda n: train_each(
        bdl.Model(Slopes(1, 1, bias=False), bdl.GaussianPrior(1.0), bdl.Gaussian(0.2)),
        *(data.to(DEVICE).expand(2, -1, -1) for data in regression()[1:]),
        steps=n,
        lr=torch.tensor([0.1, 0.01]),
        batch_size=4,
    )[0],
    "prediction in parts": lambda n: bdl.Stack(
        MODEL.functions(
            bdl.Stack(MODEL.sample_prior(n, seed=0).theta.to(DEVICE), MODEL.layout),
            there(*regression())[1],
            1,
        )
        .flatten(1)[:, :1]
        .expand(-1, MODEL.layout.dim),
        MODEL.layout,
    ),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_other_loops_do_not_wait_either(loop, monkeypatch):
    monkeypatch.setattr(  # this device has no generators
        "bdlcore.restoration.deep_image_prior._device_generator",
        lambda seed, row, device: generator(seed, 7, row),
    )
    counts = []
    for n in (5, 25):
        Device.looks = 0
        assert isinstance(LOOPS[loop](n).theta, Remote)
        counts.append(Device.looks)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("structure", ["full", "diagonal", "kron", "last_layer"])
@pytest.mark.parametrize("data", [regression, classification])
@pytest.mark.filterwarnings("ignore:The weights are not at a mode")
def test_laplace(structure, data):
    (model, x, y), (_, *remote) = data(), there(*data())
    modes = bdl.ensemble(model, x, y, members=2, steps=20).stack
    options = {"structure": structure, "modes": modes}
    here = bdl.laplace(model, x, y, **options)
    posterior = bdl.laplace(
        model, *remote, **options | {"modes": bdl.Stack(modes.theta.to(DEVICE), modes.layout)}
    )
    evidence = posterior.log_marginal_likelihood()
    torch.testing.assert_close(evidence, here.log_marginal_likelihood(), rtol=1e-4, atol=1e-3)
    for ask in (
        lambda p, x: p.sample(3).theta,
        lambda p, x: p.functions(x, 3),
        lambda p, x: p.predict(x).probabilities if data is classification else p.predict(x).mean,
    ):
        got = ask(posterior, remote[0])
        assert isinstance(got, Remote)
        torch.testing.assert_close(got.cpu(), ask(here, x), rtol=1e-3, atol=1e-3)


def test_modes_are_found():
    model, x, y = there(*regression())
    posterior = bdl.laplace(model, x, y, steps=50, refine_steps=100)
    assert isinstance(posterior.modes.theta, Remote) and posterior.excess.max() < 1


@pytest.mark.parametrize("data", [regression, classification])
def test_predictions_and_their_scores(data):
    (model, x, y), (_, *remote) = data(), there(*data())
    stack = model.sample_prior(7, seed=0)
    here = bdl.predict(model, stack, x)
    predictive = bdl.predict(model, bdl.Stack(stack.theta.to(DEVICE), stack.layout), remote[0])
    scores = ["log_prob", "accuracy", "calibration_error"] if data is classification else ["log_prob", "cdf"]
    for score in scores:
        got, want = (getattr(p, score)(at) for p, at in ((predictive, remote[1]), (here, y)))
        torch.testing.assert_close(torch.as_tensor(got).cpu(), torch.as_tensor(want), rtol=1e-4, atol=1e-5)
    if data is regression:
        for got, want in zip(predictive.interval(0.9), here.interval(0.9), strict=True):
            torch.testing.assert_close(got.cpu(), want, rtol=1e-3, atol=1e-3)


def test_gaussian_processes():
    _, x, y = regression()
    kernel = bdl.RBF(length_scale=0.5)
    here = bdl.gaussian_process(kernel, x, y, noise_std=0.2)
    there = bdl.gaussian_process(kernel, x.to(DEVICE), y.to(DEVICE), noise_std=0.2)
    torch.testing.assert_close(
        there.predict(x.to(DEVICE)).mean.cpu(), here.predict(x).mean, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        there.functions(x.to(DEVICE), 3).cpu(), here.functions(x, 3), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("method", ["hmc", "sgld", "sghmc"])
def test_a_run_goes_on_from_a_file(method, tmp_path):
    """Files are read onto the CPU."""
    data, plan = there(*regression()), {"warmup": 10} if method == "hmc" else {"warmup": 2, "thinning": 1}
    plan |= {"leapfrog_steps": 2} if method == "hmc" else {"batch_size": 4}
    run = getattr(bdl, method)
    begun = run(*data, chains=2, draws=5, initial_steps=2, **plan)
    begun.save(tmp_path / "begun")
    loaded = bdl.Posterior.load(tmp_path / "begun", data[0])
    again, want = (run(*data, draws=3, resume=posterior, **plan) for posterior in (loaded, begun))
    assert again.stack.theta.device == DEVICE and again.draws.shape[1] == 8
    assert torch.equal(again.stack.theta.cpu(), want.stack.theta.cpu())
