"""Findings against curves and chains whose faults are known."""

import math

import pytest
import torch

import bdlcore as bdl
from bdlcore.evaluation import findings


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_curves():
    falling = torch.linspace(5, 1, 100)
    assert findings.curve_finding("loss", falling).good is False
    assert "still changing: use more steps" in findings.curve_finding("loss", falling).verdict
    settled = 1 + 4 * torch.exp(-torch.arange(100) / 10)
    assert findings.curve_finding("loss", settled).good
    assert findings.curve_finding("loss", settled / 0 * 0).good is False
    assert "smaller lr" in findings.curve_finding("loss", falling * torch.nan).verdict


def test_steps_that_are_too_large_or_too_small():
    assert findings.acceptance_finding(torch.tensor([0.8, 0.1])).good is False
    assert findings.acceptance_finding(torch.tensor([0.8, 0.7])).good
    assert findings.acceptance_finding(torch.tensor([0.999])).good is None
    assert findings.divergence_finding(torch.tensor([0, 0]), 100).good
    assert findings.divergence_finding(torch.tensor([0, 1]), 100).good is None
    assert findings.divergence_finding(torch.tensor([9, 1]), 100).good is False
    assert findings.temperature_finding(torch.tensor([1.02, 0.97])).good
    assert "too wide" in findings.temperature_finding(torch.tensor([1.5])).verdict
    assert "not spread yet" in findings.temperature_finding(torch.tensor([0.5])).verdict
    assert findings.rhat_finding(normal(4, 100, 1) + torch.linspace(0, 3, 4)[:, None, None]).good is False
    assert findings.mode_finding(torch.tensor([0.1, 5.0])).good is False


def test_a_constant_value_hides_no_other():
    f = normal(4, 300, 3, 2)
    f[..., 0, 0] = 1.0
    mixed = findings.rhat_finding(f)
    assert mixed.value == bdl.rhat(f).flatten()[1:].max().item() and "1 of 6 values" in mixed.verdict
    assert findings.ess_finding(f).value > 400 and findings.ess_finding(f).good
    f[0, :, 2, 1] += 5
    apart = findings.rhat_finding(f)
    assert apart.value > 1.5 and apart.good is False and "different functions" in apart.verdict


def test_chains_that_stand_still():
    f = normal(2, 100, 3, 1)
    f[:, :, 0] = torch.tensor([0.0, 1.0], dtype=f.dtype)[:, None, None]
    finding = findings.rhat_finding(f)
    assert finding.value == math.inf and finding.good is False and "stuck" in finding.verdict
    still = findings.rhat_finding(torch.ones(2, 100, 3, 1))
    assert math.isnan(still.value) and still.good is False and "stuck" in still.verdict
    assert findings.ess_finding(torch.ones(2, 100, 3, 1)).good is False


def test_copies_of_one_chain_are_not_converged():
    one = normal(1, 500, 3, 1)
    copies = findings.rhat_finding(one.expand(8, -1, -1, -1))
    assert copies.good is False and "7 of 8 chains are identical" in copies.verdict
    both = torch.cat([one, one, normal(2, 500, 3, 1, seed=1)])
    assert "1 of 4 chains" in findings.rhat_finding(both).verdict
    assert findings.ess_finding(both).value == findings.ess_finding(both[1:]).value


@pytest.mark.parametrize("draws", [1, 3, 4, 9])
def test_few_draws_are_named_and_not_judged_good(draws):
    found = findings.ess_finding(normal(4, draws, 3, 1))
    assert math.isnan(found.value) and found.good is False
    assert f"needs 10 draws per chain, here are {draws}" in found.verdict
    if draws < 4:
        found = findings.rhat_finding(normal(4, draws, 3, 1))
        assert math.isnan(found.value) and found.good is False and "needs 4 draws" in found.verdict


def test_nan_is_never_good():
    nan = torch.tensor([0.8, torch.nan])
    assert (
        findings.acceptance_finding(nan).good is False and "NaN" in findings.acceptance_finding(nan).verdict
    )
    assert (
        findings.temperature_finding(nan).good is False and "NaN" in findings.temperature_finding(nan).verdict
    )
    assert findings.fit_finding(math.nan, torch.arange(10.0), "").good is False
    assert findings.fit_finding(-math.inf, torch.arange(10.0), "").good is False


def test_fit_against_its_definition():
    replicates = torch.tensor([-10.0, -20.0, -30.0])  # mean -20, std 10, the furthest 10 away
    for observed, z, good in ((-25, -0.5, True), (-69, -4.9, True), (-71, -5.1, False), (31, 5.1, None)):
        finding = findings.fit_finding(observed, replicates, "Do this.")
        assert finding.value == pytest.approx(z) and finding.good is good
        assert ("Do this." in finding.verdict) == (good is False)
    skewed = torch.tensor([0.0] * 99 + [-100.0])  # 5 std are 50, and one replicate is further
    assert (
        findings.fit_finding(-199.0, skewed, "").good
        and findings.fit_finding(-202.0, skewed, "").good is False
    )
    assert findings.fit_finding(-3.0, torch.zeros(5), "").value == -3  # certain replicates: in nats


@pytest.mark.parametrize(
    "x",
    [
        torch.linspace(-1.5, 1.5, 50)[:, None],
        bdl.data.two_clusters()[0],
        torch.full((20, 1, 8, 8), -1.0).index_fill(2, torch.tensor([3, 4]), 0.7),  # a digit's dark pixels
        torch.ones(5, 1),
        torch.tensor([[2000, 1], [3000, 1]]),  # tokens
    ],
)
def test_inputs_of_order_one_are_not_mentioned(x):
    assert list(findings.inputs_finding(x)) == []


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.linspace(2000, 3000, 50)[:, None], "mean 2.5e+03, std 295"),
        (torch.linspace(0, 255, 50 * 192).reshape(50, 3, 8, 8), "std 73."),
        (1e-4 * torch.linspace(-1, 1, 50)[:, None], "std 5.89e-05"),
        (torch.stack([torch.linspace(-1, 1, 9), torch.linspace(0, 90, 9)], 1), "mean 45"),
    ],
)
def test_inputs_far_from_order_one_are(x, words):
    (finding,) = findings.inputs_finding(x)
    assert finding.good is False
    assert words in finding.verdict


def test_advice_says_what_to_standardise():
    wide, fine = torch.linspace(0, 30, 9)[:, None], torch.linspace(-1, 1, 9)[:, None]
    assert "inputs (mean 15, std 9.68) to" in findings.standardising_advice(wide, fine)
    assert "Standardise targets (mean 15" in findings.standardising_advice(fine, wide)
    assert "Check the likelihood" in findings.standardising_advice(fine, None)
    dark = torch.cat(
        [fine, 1e-3 * fine, -torch.ones(9, 1)], 1
    )  # pixels that hardly vary, beside one that does
    assert "Check the likelihood" in findings.standardising_advice(dark, fine)
