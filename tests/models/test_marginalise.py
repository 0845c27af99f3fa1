"""`predict` in parts against `predict` at once, and how much it holds on the way."""

import pytest
import torch

import bdlcore as bdl


@pytest.fixture
def held(monkeypatch):
    """The largest number of function values that was held at once."""
    sizes, functions = [0], bdl.Model.evaluate

    def counted(*args):
        f = functions(*args)
        sizes[0] = max(sizes[0], f.numel())
        return f

    monkeypatch.setattr(bdl.Model, "evaluate", counted)
    return sizes


def test_streaming_answers_the_same_and_holds_no_more_than_asked(model, held):
    g = torch.Generator().manual_seed(0)
    stack = model.sample_prior(50, seed=0, dtype=torch.float64)
    x = torch.randn(23, 1, generator=g, dtype=torch.float64)
    y = torch.randn(23, 2, generator=g, dtype=torch.float64)
    whole = bdl.predict(model, stack, x)
    assert isinstance(whole, bdl.GaussianPredictive) and held[0] == 50 * 23 * 2
    held[0] = 0
    parts = bdl.predict(model, stack, x, chunk_size=5)
    questions = {
        "mean": lambda p: p.mean,
        "epistemic_std": lambda p: p.epistemic_std,
        "aleatoric_std": lambda p: p.aleatoric_std,
        "total_std": lambda p: p.total_std,
        "log_prob": lambda p: p.log_prob(y),
        "cdf": lambda p: p.cdf(y),
        "cdf of one value": lambda p: p.cdf(torch.tensor(0.3)),
        "quantile": lambda p: p.quantile(0.3),
        "interval": lambda p: torch.stack(p.interval(0.9)),
    }
    for name, question in questions.items():
        torch.testing.assert_close(question(parts), question(whole), msg=name)
    assert held[0] == 50 * 5 * 2


@pytest.mark.parametrize("likelihood", [bdl.Gaussian(0.3), bdl.Categorical()])
def test_large_predictions_are_bounded_without_being_asked(likelihood, held):
    model = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(1.0), likelihood)
    predictive = bdl.predict(model, model.sample_prior(1000, seed=0), torch.randn(10_000, 1))
    answer = predictive.mean if likelihood != bdl.Categorical() else predictive.probabilities
    assert answer.shape == (10_000, 2) and held[0] <= 2**24


def test_predicting_refuses_what_it_cannot_marginalise(model):
    stack, x = model.sample_prior(20, seed=0), torch.zeros(9, 1)
    with pytest.raises(ValueError, match="stack is empty"):
        bdl.predict(model, stack[[]], x)
    with pytest.raises(ValueError, match="chunk_size must be at least 1"):
        bdl.predict(model, stack, x, chunk_size=0)
    with pytest.raises(
        TypeError, match="takes what hmc, ensemble, laplace and their like return, or a Stack"
    ):
        bdl.predict(model, stack.theta, x)
