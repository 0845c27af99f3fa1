"""Code lengths against Kraft's inequality, the bound against the binomial, and compression against its definition."""

import itertools
import math

import pytest
import torch
from scipy.stats import binom

import bdlcore as bdl

CLASSES = bdl.Model(bdl.nets.mlp(2, 6, 3), bdl.GaussianPrior(1.0, fan_in=True), bdl.Categorical())


@pytest.fixture
def trained():
    g = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 2, generator=g) + 3 * torch.nn.functional.one_hot(y, 3)[:, :2]
    start = CLASSES.sample_prior(2, seed=0)
    return start, bdl.ensemble(CLASSES, x, y, steps=200, members=2, initial=start).stack, x, y


@pytest.mark.parametrize("D", [1, 2, 4])
def test_messages_fit_into_a_code(D):
    def share(K):
        return torch.exp(
            -bdl.code_length(torch.tensor([*itertools.product(range(-K, K + 1), repeat=D)]))
        ).sum()

    shares = [share(K).item() for K in range(6)]
    assert all(a < b < 1 for a, b in itertools.pairwise(shares))
    # given K every sequence of levels -K..K has its place, those that do not reach K unused
    assert share(0).item() == pytest.approx(1 / 2)


def test_length_by_hand():
    # K = 1; 10 ways to have 3 numbers of 3 levels; 3 sequences with two zeros and a one
    want = math.log(2 * 3 * 10 * 3)
    assert bdl.code_length(torch.tensor([[0, 1, 0]])).item() == pytest.approx(want)
    assert bdl.code_length(torch.tensor([[0.0, 0.0, -1.0]])).item() == pytest.approx(want)


def test_zeros_are_cheap():
    few, many = torch.zeros(1, 1000), torch.zeros(1, 1000)
    few[0, :10], many[0, :500] = 1, 1
    short, long = bdl.code_length(few).item(), bdl.code_length(many).item()
    assert short < 80 and abs(long - 1000 * math.log(2)) < 20


def test_bound_is_rarely_broken():
    """For one network fixed in advance: the probability, exactly, that its true error is above the bound."""
    for true in (0.05, 0.3, 0.7):
        seen = torch.arange(51) / 50
        broken = bdl.occam_bound(seen, torch.zeros(1), 50, delta=0.1).numpy() < true
        assert binom.pmf(range(51), 50, true)[broken].sum() <= 0.1


def test_bound_solves_its_equation():
    error, nats = torch.tensor([0.0, 0.1, 0.5]), torch.tensor([20.0, 5.0, 40.0])
    p, q = bdl.occam_bound(error, nats, 200), error.double()
    kl = torch.xlogy(q, q / p) + torch.xlogy(1 - q, (1 - q) / (1 - p))
    torch.testing.assert_close(kl, (nats.double() + math.log(20)) / 200)
    assert bdl.occam_bound(torch.ones(1), nats, 200).eq(1).all()


def test_compressed_network_is_the_coarsest_that_still_works(trained):
    start, stack, x, y = trained

    def accuracy(theta):
        return (CLASSES.functions(bdl.Stack(theta, stack.layout), x).argmax(-1) == y).double().mean(1)

    found = bdl.compress(CLASSES, stack, start, x, y, accuracy_drop=0.05)
    levels = ((stack.theta - start.theta) / found.step[:, None]).round()
    told = accuracy(start.theta + found.step[:, None] * levels)
    torch.testing.assert_close(1 - told, found.error.double())
    torch.testing.assert_close(bdl.code_length(levels) + math.log(25), found.nats)
    assert (told >= accuracy(stack.theta) - 0.05 - 1e-6).all()
    coarser = found.step[:, None] * 10**0.125
    levels = ((stack.theta - start.theta) / coarser).round()
    assert (accuracy(start.theta + coarser * levels) < accuracy(stack.theta) - 0.05 + 1e-6).any()
    rough = bdl.compress(CLASSES, stack, start, x, y, accuracy_drop=0.999)
    assert (rough.step == 10).all() and (rough.nats < found.nats).all()


def test_an_untrained_network_needs_no_message(trained):
    start, _, x, y = trained
    found = bdl.compress(CLASSES, start, start, x, y)
    torch.testing.assert_close(found.step, torch.full((2,), 10.0))
    assert (found.nats < 5).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bdl.code_length(torch.tensor([[0.5]])), "levels must be whole"),
        (lambda: bdl.code_length(torch.tensor([1, 2])), "levels must be whole"),
        (lambda: bdl.occam_bound(torch.tensor([1.1]), torch.ones(1), 9), "error must lie"),
        (lambda: bdl.occam_bound(torch.tensor([0.1]), -torch.ones(1), 9), "nats must be"),
        (lambda: bdl.occam_bound(torch.tensor([0.1]), torch.ones(1), 9, delta=1), "delta must lie"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_starts_and_networks_must_pair_up(trained):
    start, stack, x, y = trained
    with pytest.raises(ValueError, match="start must hold one row for each of the 2"):
        bdl.compress(CLASSES, stack, start[[0]], x, y)
