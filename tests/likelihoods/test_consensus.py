"""Curated labels against Bayes' rule and against annotators who happen to agree."""

import pytest
import torch

import bdlcore as bdl


def test_consensus_is_bayes_rule_for_agreeing_annotators():
    g = torch.Generator().manual_seed(0)
    f = torch.randn(3, 4, 5, generator=g, dtype=torch.float64)
    y = torch.tensor([0, 4, 2, 2])
    likelihood, p = bdl.Consensus(3), f.softmax(-1)
    posterior = (p**3 / (p**3).sum(-1, keepdim=True)).gather(-1, y.expand(3, 4)[..., None])[..., 0]
    torch.testing.assert_close(likelihood.log_prob(f, y).exp(), posterior)
    f.requires_grad_()
    slope = torch.autograd.grad(likelihood.log_prob(f, y).sum(), f)[0]
    torch.testing.assert_close(likelihood.slope(f.detach(), y), slope)
    torch.testing.assert_close(bdl.Consensus(1).log_prob(f, y), bdl.Categorical().log_prob(f, y))


def test_consensus_labels_are_those_that_annotators_agree_on():
    g = torch.Generator().manual_seed(0)
    f = torch.tensor([0.0, 0.7, -0.4]).expand(40_000, 3)
    annotators = torch.multinomial(f.softmax(-1), 2, replacement=True, generator=g)
    agreed = annotators[annotators[:, 0] == annotators[:, 1], 0]
    sampled = bdl.Consensus(2).sample(f, g)
    shares = [torch.bincount(labels, minlength=3) / len(labels) for labels in (agreed, sampled)]
    # standard error 0.0043, from 15,700 and 40,000 draws; one annotator's shares differ by 0.19
    torch.testing.assert_close(*shares, atol=0.025, rtol=0)
    with pytest.raises(ValueError, match="annotators"):
        bdl.Consensus(0)
