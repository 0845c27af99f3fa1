"""Every method fits what is read as it fits tensors: bit for bit, where it sees the same minibatches."""

from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

import bdlcore as bdl
from bdlcore._support.randomness import RowRandom
from bdlcore.inference import sgmcmc

X = torch.linspace(-1, 1, 22).view(11, 2)
PAIRS = TensorDataset(X, X.sum(1).sin())
MODEL = bdl.Model(bdl.nets.mlp(2, 4, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.3))
SOURCES = {
    "sgld": lambda *data, **more: bdl.sgld(
        MODEL, *data, **{"chains": 2, "draws": 4, "warmup": 9, "thinning": 2, "initial_steps": 9} | more
    ),
    "sghmc": lambda *data, **more: bdl.sghmc(
        MODEL, *data, **{"chains": 2, "draws": 4, "warmup": 9, "thinning": 2, "initial_steps": 9} | more
    ),
    "vi": lambda *data, **more: bdl.mean_field_vi(
        MODEL, *data, **{"members": 2, "draws": 4, "steps": 9, "initial_steps": 9} | more
    ),
    "swag": lambda *data, **more: bdl.swag(
        MODEL, *data, **{"members": 2, "draws": 4, "snapshots": 9, "initial_steps": 99} | more
    ),
    "ensemble": lambda *data, **more: bdl.ensemble(MODEL, *data, **{"members": 2, "steps": 20} | more),
}


class Noisy(Dataset):
    """Inputs with noise that is drawn anew whenever they are read; remembers what was."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return len(PAIRS)

    def __getitem__(self, i):
        x, y = PAIRS[i]
        self.read.append(x + 0.1 * torch.randn(2))
        return self.read[-1], y


def settings_of(posterior):
    return posterior.modes.theta if isinstance(posterior, bdl.LaplacePosterior) else posterior.stack.theta


@pytest.mark.parametrize("method", SOURCES)
def test_a_fit_to_minibatches_that_are_read_is_that_to_tensors(method):
    fit = SOURCES[method]
    want = fit(*PAIRS.tensors, batch_size=4, seed=3)
    for found in (
        fit(PAIRS, batch_size=4, seed=3),
        fit(DataLoader(PAIRS, batch_size=4, shuffle=True, drop_last=True), seed=3),
        fit(DataLoader(PAIRS, batch_size=4, num_workers=1), None, seed=3),
    ):
        assert torch.equal(settings_of(found), settings_of(want))
        assert found.gradient_evaluations == want.gradient_evaluations
        for name in ("rhat", "log_density", "loss", "elbo", "step_size"):
            mine, wanted = getattr(found, name), getattr(want, name)
            assert (mine is wanted is None) or torch.equal(mine, wanted), name
    assert not torch.equal(settings_of(fit(*PAIRS.tensors, batch_size=5, seed=3)), settings_of(want))


@pytest.mark.parametrize("method", sorted(set(SOURCES) - {"swag"}))
def test_a_dataset_without_a_batch_size_is_all_data_at_once(method):
    found, want = SOURCES[method](PAIRS), SOURCES[method](*PAIRS.tensors)
    assert torch.equal(settings_of(found), settings_of(want))


@pytest.mark.filterwarnings("ignore:.*(hardly moved|diverged|not at a mode)")  # a few steps, for speed
@pytest.mark.parametrize(
    "fit",
    [
        lambda *data: bdl.hmc(MODEL, *data, chains=2, draws=4, warmup=10, leapfrog_steps=4, initial_steps=50),
        lambda *data: bdl.laplace(MODEL, *data, steps=300, lr=0.05),
    ],
    ids=["hmc", "laplace"],
)
def test_methods_that_need_all_data_read_them_once(fit):
    want = fit(*PAIRS.tensors)
    for source in (PAIRS, DataLoader(PAIRS, batch_size=4, shuffle=True, num_workers=1)):
        assert torch.equal(settings_of(fit(source)), settings_of(want))
    counted = Noisy()
    fit(counted)
    assert len(counted.read) == len(PAIRS) + 1, "all once, and the first one to look at it"


@pytest.mark.parametrize("method", SOURCES)
def test_every_step_sees_a_random_transform_anew_and_rows_do_not_depend_on_others(method):
    """Row 1 of a run over two rows is that of a run over row 1 alone, though transforms are random."""
    rows = "chains" if method.startswith("sg") else "members"
    both, alone = Noisy(), Noisy()
    more = {"batch_size": 4, "seed": 3, "step_size" if rows == "chains" else "lr": 1e-3}
    whole = SOURCES[method](both, **more)
    part = SOURCES[method](alone, **{rows: range(1, 2)}, **more)
    torch.testing.assert_close(whole.stack.theta[len(whole.stack) // 2 :], part.stack.theta)
    assert all(map(torch.equal, both.read, alone.read))
    noises = torch.stack(both.read)
    looks = 3 * len(PAIRS)  # at the probe, and at all data before and after
    assert len(noises) > 2 * looks and len(noises.unique(dim=0)) > len(noises) - looks


def test_data_of_a_partly_constant_network_are_read_too():
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    part = bdl.Model(network, bdl.GaussianPrior(1.0), bdl.Gaussian(0.3), trainable="2")
    run = {"chains": 2, "draws": 4, "warmup": 9, "thinning": 2, "initial_steps": 9, "step_size": 1e-3}
    found = bdl.sgld(part, DataLoader(PAIRS, batch_size=4), **run)
    want = bdl.sgld(part, *PAIRS.tensors, batch_size=4, **run)
    torch.testing.assert_close(found.stack.theta, want.stack.theta)
    torch.testing.assert_close(bdl.predict(part, want, PAIRS).mean, bdl.predict(part, want, X).mean)


def test_labels_are_read_as_numbers():
    labels = TensorDataset(X, (X.sum(1) > 0).long())
    classes = bdl.Model(bdl.nets.mlp(2, 4, 2), bdl.GaussianPrior(1.0), bdl.Categorical())
    found, want = (
        bdl.ensemble(classes, *data, steps=20, batch_size=4) for data in ([labels], labels.tensors)
    )
    assert torch.equal(found.stack.theta, want.stack.theta)
    with pytest.raises(ValueError, match="label 2; of 2 classes"):
        bdl.ensemble(classes, TensorDataset(X, labels.tensors[1] + 2))


@pytest.mark.parametrize("method", SOURCES)
def test_one_batch_size_is_enough(method):
    with pytest.raises(ValueError, match="batch_size is that of the DataLoader, 4: leave batch_size out"):
        SOURCES[method](DataLoader(PAIRS, batch_size=4), batch_size=4)
    with pytest.raises(ValueError, match="x is a DataLoader, which gives targets as well: leave out y"):
        SOURCES[method](DataLoader(PAIRS, batch_size=4), PAIRS.tensors[1])
    with pytest.raises(TypeError, match="y must be a floating-point torch.Tensor"):
        SOURCES[method](X)


@pytest.mark.filterwarnings("ignore:.*Interrupted")
def test_an_interrupt_while_a_batch_is_read_returns_what_there_is():
    class Stopped(Noisy):
        def __getitem__(self, i):
            if len(self.read) == 200:
                raise KeyboardInterrupt
            return super().__getitem__(i)

    found = SOURCES["sgld"](Stopped(), batch_size=4, draws=400, step_size=1e-3)
    assert 0 < found.draws.shape[1] < 100


@pytest.mark.filterwarnings("ignore:.*(Interrupted|hardly moved|diverged)")
@pytest.mark.parametrize("method", ["hmc", "sgld", "sghmc"])
def test_an_interrupt_between_a_draw_and_its_count_leaves_no_half_of_it(method, monkeypatch):
    plan = {"warmup": 10, "leapfrog_steps": 3} if method == "hmc" else {"warmup": 9, "thinning": 2}
    plan |= {"chains": 2, "initial_steps": 9}
    asked = RowRandom if method == "hmc" else sgmcmc._Noise  # where its generators are, for every draw
    run, state, left = partial(getattr(bdl, method), MODEL, *PAIRS.tensors, **plan), asked.state, [7]

    def stop(self):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return state.fget(self)

    with monkeypatch.context() as context:
        context.setattr(asked, "state", property(stop))
        found = run(draws=12)
    assert left[0] <= 0 < found.draws.shape[1] < 12
    wanted = run(draws=found.draws.shape[1])
    for name in ("stack", "acceptance", "divergences", "configurational_temperature", "random_state"):
        mine, other = (getattr(p, name) for p in (found, wanted))
        if isinstance(mine, bdl.Stack):
            mine, other = mine.theta, other.theta
        assert (mine is other is None) or torch.equal(mine, other), name


@pytest.mark.parametrize("method", ["sgld", "sghmc"])
@pytest.mark.parametrize("batch_size", [4, None])
def test_a_run_on_what_is_read_goes_on(method, batch_size):
    """Random transforms draw what they would have drawn."""
    more = {"batch_size": batch_size, "step_size": 1e-3}
    whole = SOURCES[method](Noisy(), draws=9, **more)
    part = SOURCES[method](Noisy(), draws=4, **more)
    again = SOURCES[method](Noisy(), draws=5, resume=part, **more)
    assert torch.equal(again.stack.theta, whole.stack.theta)
    assert torch.equal(again.log_density, whole.log_density)
    if batch_size:
        loaded = SOURCES[method](DataLoader(Noisy(), batch_size=4, num_workers=1), draws=5, resume=part)
        assert torch.equal(loaded.stack.theta, whole.stack.theta)
