"""Data that are read: what comes is what the dataset holds, whoever reads it; a loader that cannot do is refused."""

import random
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    StackDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

import bdlcore as bdl
from bdlcore._support import memory
from bdlcore.models.log_posterior import LogPosterior, in_memory, log_posterior
from bdlcore.models.reading import Reader

X = torch.linspace(-1, 1, 22).view(11, 2)
Y = X.sum(1).sin()
PAIRS = TensorDataset(X, Y)
MODEL = bdl.Model(bdl.nets.mlp(2, 4, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.3))


class Noisy(Dataset):
    """x with noise from all the global generators that a transform may use; counts what is read of it."""

    def __init__(self, clean=X):
        self.read, self.clean = 0, clean

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        self.read += 1
        return self.clean[i] + torch.randn(2) + np.random.randn() + random.gauss(0, 1), Y[i]  # noqa: NPY002


class Items(Dataset):
    """Any items."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Without:
    """Half a dataset."""

    def __getitem__(self, i):
        return X[i], Y[i]


class Unending(IterableDataset):
    def __iter__(self):
        while True:
            yield X[0], Y[0]


class Again(Sampler):
    """Without end."""

    def __iter__(self):
        while True:
            yield 0


@pytest.mark.parametrize(
    "source",
    [
        PAIRS,
        Items(*((x.numpy(), y.item()) for x, y in PAIRS)),
        DataLoader(PAIRS, batch_size=4, shuffle=True),
        DataLoader(PAIRS, batch_size=4, num_workers=2),
        DataLoader(PAIRS, batch_size=11, drop_last=True),
        DataLoader(PAIRS, batch_sampler=BatchSampler(RandomSampler(PAIRS), 4, False)),
        DataLoader(PAIRS, batch_size=3, collate_fn=lambda items: [torch.stack(part) for part in zip(*items)]),
    ],
)
def test_all_data_are_gathered_in_their_order(source):
    x, y = Reader(source).gather(4)
    assert torch.equal(x, X)
    torch.testing.assert_close(y, Y, check_dtype=False)


def test_a_random_transform_draws_anew_alike_for_any_number_of_workers():
    order = [[0, 1, 2], [3, 0], [0, 1, 2]]
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first, *others = (
        [x for x, _ in Reader(DataLoader(Noisy(), batch_size=4, num_workers=n)).read(order, seed=5)]
        for n in (0, 2)
    )
    for other in others:
        assert all(map(torch.equal, first, other))
    assert (first[0] != first[2]).all(), "the same positions, read again, are new draws"
    later = [x for x, _ in Reader(Noisy()).read(order[1:], seed=5, first=1)]
    assert all(map(torch.equal, first[1:], later))
    other = next(Reader(Noisy()).read(order, seed=6))[0]
    assert (first[0] != other).all()
    assert torch.equal(before[0], torch.get_rng_state()) and before[2] == random.getstate()
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_no_more_is_read_than_is_asked_for():
    data = Noisy()
    density = log_posterior(MODEL, data, None)
    assert data.read == 1
    batches = density.batches(4, torch.Generator().manual_seed(0))
    assert data.read == 1
    for taken in range(1, 4):
        assert next(batches).x.shape == (4, 2) and data.read == 1 + 4 * taken


@pytest.mark.parametrize("temperatures", [(1.0, 1.0), (0.5, torch.tensor([1.0, 2.0, 0.1]))])
def test_the_log_posterior_of_what_is_read_is_that_of_tensors(temperatures, monkeypatch):
    theta = MODEL.sample_prior(3, seed=0).theta
    want, read = LogPosterior(MODEL, X, Y, *temperatures), log_posterior(MODEL, PAIRS, None, *temperatures)
    for found, wanted in zip(read(theta), want(theta), strict=True):
        torch.testing.assert_close(found, wanted)
    for batch_size in (4, 11, None):  # and one that is skipped to
        for skip in (0, 3):
            batches = (
                density.batches(batch_size, torch.Generator().manual_seed(1), skip)
                for density in (read, want)
            )
            for one, other in islice(zip(*batches, strict=True), 7):
                assert torch.equal(one.x, other.x) and torch.equal(one.y, other.y)
                assert all(map(torch.equal, one(theta), other(theta)))
    skipped, whole = (want.batches(4, torch.Generator().manual_seed(1), skip) for skip in (5, 0))
    assert torch.equal(next(skipped).x, list(islice(whole, 6))[5].x)

    monkeypatch.setattr(memory, "PASS", 16)  # one datum at a time
    for found, wanted in zip(read.at(1.0, 3.0)(theta), want.at(1.0, 3.0)(theta), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (Unending(), TypeError, "reads from a Unending without a length"),
        (DataLoader(Unending(), batch_size=2), TypeError, "without a length"),
        (DataLoader(Without(), batch_size=2, sampler=[0, 1]), TypeError, "a Without without a length"),
        (Items(), ValueError, "x is an empty dataset"),
        (Items({"x": X[0], "y": Y[0]}), TypeError, r"it is a dict, not a pair\. Items must be pairs"),
        (Items((X[0], Y[0], Y[0])), TypeError, "it is a list of 3, not a pair"),
        (Items(X[0]), TypeError, "it is a Tensor, not a pair"),
        (Items((X[0], "cat")), TypeError, "its y became a "),
        (Items((object(), Y[0])), TypeError, "cannot be used: .* images need a transform"),
        (
            DataLoader(PAIRS, sampler=WeightedRandomSampler(Y.abs(), 11)),
            ValueError,
            "a WeightedRandomSampler",
        ),
        (
            DataLoader(PAIRS, sampler=Again()),
            ValueError,
            "a DataLoader with a Again. A posterior counts every",
        ),
        (DataLoader(PAIRS, sampler=RandomSampler(PAIRS, replacement=True)), ValueError, "RandomSampler"),
        (DataLoader(PAIRS, sampler=RandomSampler(PAIRS, num_samples=5)), ValueError, "RandomSampler"),
        (DataLoader(PAIRS, sampler=[0, 1]), ValueError, "a DataLoader with a list"),
        (DataLoader(PAIRS, batch_sampler=[[0, 1], [2]]), ValueError, "a DataLoader with a list"),
        (
            DataLoader(PAIRS, batch_sampler=BatchSampler(WeightedRandomSampler(Y.abs(), 11), 2, False)),
            ValueError,
            "WeightedRandomSampler",
        ),
        (DataLoader(TensorDataset(X[None], Y[None]), batch_size=None), ValueError, "batch_size=None"),
        (
            DataLoader(PAIRS, batch_size=3, collate_fn=lambda items: (X[:2], Y[:2])),
            ValueError,
            r"A batch of 1 data has x of shape \(2, 2\)",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_at_once(source, error, message):
    with pytest.raises(error, match=message):
        Reader(source)


def test_a_loader_that_leaves_data_out_is_refused_where_all_are_read(monkeypatch):
    some = DataLoader(PAIRS, batch_size=4, drop_last=True)
    for call in (
        lambda: bdl.hmc(MODEL, some),
        lambda: bdl.laplace(MODEL, some),
        lambda: bdl.predict(MODEL, MODEL.sample_prior(2, seed=0), some),
    ):
        with pytest.raises(ValueError, match="drop_last=True, which leaves out 3 of 11 data"):
            call()
    with pytest.raises(ValueError, match="x is a TensorDataset, which gives targets as well: leave out y"):
        bdl.hmc(MODEL, PAIRS, Y)
    part = Subset(PAIRS, range(8))
    assert in_memory(MODEL, DataLoader(part, batch_size=4, drop_last=True), None)[0].shape == (8, 2)

    monkeypatch.setattr(memory, "WORKSPACE", 0)
    monkeypatch.setattr(memory, "available", lambda device: X.nbytes - 1)
    with pytest.raises(MemoryError, match="11 data, all of which are needed at once, take .* Use sgld"):
        bdl.hmc(MODEL, PAIRS)
    density = log_posterior(MODEL, PAIRS, None)
    with pytest.raises(MemoryError, match="11 data of one step take .* smaller batch_size"):
        density.batches(None, torch.Generator())
    assert len(next(density.batches(10, torch.Generator().manual_seed(0))).x) == 10


def test_data_go_to_the_device_of_the_network():
    meta = bdl.Model(bdl.nets.mlp(2, 4, 1).to("meta"), bdl.GaussianPrior(1.0), bdl.Gaussian(0.3))
    assert meta.device.type == "meta" and MODEL.device.type == "cpu"
    reader = Reader(DataLoader(PAIRS, batch_size=4), device=meta.device)
    assert reader.x.device.type == reader.y.device.type == "meta"


# --- predictions ---


@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize(
    "source",
    [PAIRS, TensorDataset(X), Items(*X), StackDataset(X, Y), DataLoader(PAIRS, batch_size=4, num_workers=1)],
    ids=["pairs", "tuples of one", "inputs", "stacked", "loader"],
)
def test_a_prediction_for_what_is_read_is_that_for_tensors(source, chunk_size):
    stack = MODEL.sample_prior(5, seed=0)
    want, found = (bdl.predict(MODEL, stack, x, chunk_size) for x in (X, source))
    assert type(found) is type(want)
    assert torch.equal(found.mean, want.mean) and torch.equal(found.epistemic_std, want.epistemic_std)
    assert torch.equal(found.log_prob(Y), want.log_prob(Y))


def test_a_prediction_holds_no_more_than_a_pass_of_what_is_read(monkeypatch):
    classes = bdl.Model(bdl.nets.mlp(2, 4, 3), bdl.GaussianPrior(1.0), bdl.Categorical())
    stack = classes.sample_prior(5, seed=0)
    want = bdl.predict(classes, stack, X).probabilities
    seen, functions = [], bdl.Model.functions

    def counted(self, stack, x, *others):
        seen.append(len(x))
        return functions(self, stack, x, *others)

    monkeypatch.setattr(memory, "PASS", 4 * 4 * 2)
    monkeypatch.setattr(bdl.Model, "functions", counted)
    torch.testing.assert_close(bdl.predict(classes, stack, PAIRS).probabilities, want)
    assert seen == [2] * 5 + [1]


def test_laplace_predicts_for_what_is_read(monkeypatch):
    posterior = bdl.laplace(MODEL, X, Y, steps=300, lr=0.05)
    want, found = (bdl.predict(MODEL, posterior, x) for x in (X, DataLoader(PAIRS, batch_size=4)))
    assert torch.equal(found.mean, want.mean)
    with pytest.raises(ValueError, match="shuffle=True, so that nobody would know which prediction is whose"):
        bdl.predict(MODEL, posterior, DataLoader(PAIRS, batch_size=4, shuffle=True))
    with pytest.raises(ValueError, match="shuffle=True"):
        bdl.predict(MODEL, posterior.modes, DataLoader(PAIRS, shuffle=True))
    monkeypatch.setattr(memory, "WORKSPACE", 0)
    monkeypatch.setattr(memory, "available", lambda device: X.nbytes - 1)
    with pytest.raises(MemoryError, match="11 data, all of which are needed at once, .* Predict for a part"):
        bdl.predict(MODEL, posterior, PAIRS)


def test_parts_of_a_prediction_do_not_share_what_transforms_draw():
    stack = MODEL.sample_prior(2, seed=0)
    noise = Noisy(torch.zeros_like(X))
    values = [bdl.predict(MODEL, stack, noise, 1).mean for _ in range(2)]
    assert torch.equal(values[0], values[1])
    assert len(values[0].unique()) == len(X)
