"""The likelihood of two classes by one logit, against torch.distributions and `Categorical` on the logits (0, f)."""

import pytest
import torch

import bdlcore as bdl


def logits(*shape):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_density_slope_curvature_and_probabilities():
    f, y = logits(5, 7, 1), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    one, two = bdl.Bernoulli(), bdl.Categorical()
    both = torch.cat([torch.zeros_like(f), f], -1)
    want = torch.distributions.Bernoulli(logits=f[..., 0]).log_prob(y.double())
    torch.testing.assert_close(one.log_prob(f, y), want)
    torch.testing.assert_close(one.log_prob(f, y), two.log_prob(both, y))
    torch.testing.assert_close(one.slope(f, y), two.slope(both, y)[..., 1:])
    root, whole = one.curvature_root(f[0]), two.curvature_root(both[0])
    torch.testing.assert_close(root @ root.mT, (whole @ whole.mT)[:, 1:, 1:])
    torch.testing.assert_close(one.probabilities(f), two.probabilities(both))


def test_samples_have_the_right_share():
    f = torch.tensor([[-2.0], [0.0], [1.5]], dtype=torch.float64).expand(40_000, 3, 1)
    share = bdl.Bernoulli().sample(f, torch.Generator().manual_seed(0)).double().mean(0)
    p = f[0, :, 0].sigmoid()
    assert ((share - p).abs() < 5 * (p * (1 - p) / 40_000).sqrt()).all()


def test_predictive_of_very_wrong_and_very_sure_functions():
    model = bdl.Model(bdl.nets.mlp(1, 1), bdl.GaussianPrior(1.0), bdl.Bernoulli())
    stack = bdl.Stack(torch.tensor([[500.0, 0.0], [400.0, 0.0]]), model.layout)
    predictive = bdl.predict(model, stack, torch.ones(1, 1))
    assert predictive.probabilities.tolist() == [[0.0, 1.0]]
    want = torch.logaddexp(torch.tensor(-500.0), torch.tensor(-400.0)) - torch.tensor(2.0).log()
    torch.testing.assert_close(predictive.log_prob(torch.tensor([0]))[0], want)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_posteriors_are_those_of_two_classes(dtype):
    """With one logit of prior std a, or the difference of two of a / sqrt 2: logistic regression both times."""
    x = logits(40, 2)
    y = (x[:, 0] + 0.5 > 0).to(dtype)
    one = bdl.Model(bdl.nets.mlp(2, 1), bdl.GaussianPrior(1.0), bdl.Bernoulli())
    two = bdl.Model(bdl.nets.mlp(2, 2), bdl.GaussianPrior(0.5**0.5), bdl.Categorical())
    found = bdl.laplace(one, x, y)
    other = bdl.laplace(two, x, y.long())
    torch.testing.assert_close(
        found.log_marginal_likelihood(), other.log_marginal_likelihood(), rtol=1e-5, atol=1e-5
    )
    p, q = (posterior.predict(x, draws=20_000).probabilities for posterior in (found, other))
    assert (p - q).abs().max() < 0.02
    report = bdl.health(one, found, x, reference=found)
    assert report["agreement"].value == 1


def test_bad_targets_are_named():
    x = torch.zeros(3, 1)
    one = bdl.Model(bdl.nets.mlp(1, 1), bdl.GaussianPrior(1.0), bdl.Bernoulli())
    with pytest.raises(ValueError, match="label 2; of 2 classes"):
        one.check_data(x, torch.tensor([0, 1, 2]))
    with pytest.raises(TypeError, match="integer labels"):
        one.check_data(x, torch.tensor([0.0, 1.0, 1.0]))
    two = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(1.0), bdl.Bernoulli())
    with pytest.raises(ValueError, match="one output, the logit of class 1; this one has 2"):
        two.check_data(x, torch.tensor([0, 1, 1]))
