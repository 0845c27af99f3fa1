"""The verdict is what statistics says about the values, whatever one hoped for."""

import json
import math
import re

import numpy as np
import pytest
import torch
from scipy import stats

from bdlcore.notebook.claims import MIME, UNITS, Claim, claim, combined, stored_claims

EXPECTED_SECONDS = 20
SEEDS = range(6)
VALUES = [0.31, 0.12, 0.25, 0.4, 0.18, 0.22]


def measured(values=VALUES, seeds=None, varies="data set", **rule):
    seeds = range(len(values)) if seeds is None else seeds
    return claim("a-name", "A statement.", values, quantity="gain", seeds=seeds, varies=varies, **rule)


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch):
    for name in ("BDL_SEED", "BDL_SCALE", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)


# --- the rule, against scipy's own test of a mean ---


@pytest.mark.parametrize("n", [5, 6, 30])
@pytest.mark.parametrize("seed", range(20))
def test_one_sided_verdicts_are_those_of_scipys_t_test(n, seed):
    values = np.random.default_rng(seed).normal(0.3, 1.0, n)
    threshold = 0.0
    p_greater = stats.ttest_1samp(values, threshold, alternative="greater").pvalue
    p_less = stats.ttest_1samp(values, threshold, alternative="less").pvalue
    above = "holds" if p_greater < 0.05 else "contradicted" if p_less < 0.05 else "not shown"
    mirror = {"holds": "contradicted", "contradicted": "holds", "not shown": "not shown"}
    assert measured(values, above=threshold).verdict == above
    assert measured(values, below=threshold).verdict == mirror[above]


@pytest.mark.parametrize("n", [5, 6, 30])
def test_bounds_are_scipys_intervals(n):
    values = np.random.default_rng(n).normal(2.0, 1.0, n)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    two_sided = measured(values, between=(0, 9))
    assert (two_sided.lower, two_sided.upper) == pytest.approx((interval.low, interval.high), rel=1e-12)
    one_sided = measured(values, above=0)
    assert one_sided.lower == pytest.approx(
        stats.ttest_1samp(values, 0, alternative="greater").confidence_interval(0.95).low, rel=1e-12
    )
    assert one_sided.upper == pytest.approx(
        stats.ttest_1samp(values, 0, alternative="less").confidence_interval(0.95).high, rel=1e-12
    )
    assert (one_sided.mean, one_sided.sd) == pytest.approx((values.mean(), values.std(ddof=1)))


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ({"above": 0.0}, "holds"),
        ({"above": 0.24}, "not shown"),
        ({"above": 0.5}, "contradicted"),
        ({"below": 0.5}, "holds"),
        ({"below": 0.25}, "not shown"),
        ({"below": 0.0}, "contradicted"),
        ({"between": (0.0, 0.5)}, "holds"),
        ({"between": (0.2, 0.5)}, "not shown"),  # the interval reaches out at one side
        ({"between": (0.24, 0.25)}, "not shown"),  # and at both
        ({"between": (0.5, 1.0)}, "contradicted"),
        ({"between": (-1.0, 0.0)}, "contradicted"),
    ],
)
def test_each_rule_has_three_verdicts(rule, verdict):
    assert measured(**rule).verdict == verdict


@pytest.mark.parametrize("rule", [{"above": 0.3}, {"below": 0.3}, {"between": (0.3, 1)}])
def test_equality_on_every_seed_is_not_shown(rule):
    result = measured([0.3] * 5, **rule)
    assert (result.sd, result.mean, result.verdict) == (0.0, 0.3, "not shown")
    assert "0.3 every time" in str(result)


def test_five_percent_of_true_nulls_are_called_true():
    values = np.random.default_rng(0).normal(size=(4000, 5))
    rate = np.mean([measured(row, above=0.0).verdict == "holds" for row in values])
    assert abs(rate - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4000)


def test_share_counts_seeds_on_the_claimed_side():
    assert measured([1, 2, -1, 3], above=0).share == 0.75
    assert measured([1, 2, -1, 3], below=0).share == 0.25
    assert measured([1, 2, -1, 3], between=(0, 2.5)).share == 0.5


# --- what the bounds of other quantities promise ---


def test_fishers_bounds_stay_inside_and_are_students_on_z():
    r = np.array([0.99, 0.9, 0.97, 0.6, 0.95])
    result = measured(r, above=0.5, bound="fisher")
    z = stats.ttest_1samp(np.arctanh(r), 0, alternative="greater").confidence_interval(0.95).low
    assert result.lower == pytest.approx(np.tanh(z), rel=1e-12)
    assert measured(r, above=0.5).upper > 1 > result.upper
    assert "lower bound (Fisher z)" in result.evidence
    perfect = measured([-1.0, -1, -1, -1, -0.94], below=-0.9, bound="fisher")
    assert -1 < perfect.lower and perfect.verdict == "holds"


def test_binomial_verdicts_are_those_of_scipys_exact_test():
    values = [1] * 9 + [0]
    result = measured(values, above=0.5, bound="binomial")
    test = stats.binomtest(9, 10, 0.5, alternative="greater")
    assert result.lower == pytest.approx(test.proportion_ci(0.95, method="exact").low, rel=1e-12)
    assert (result.p, result.verdict) == (pytest.approx(test.pvalue, rel=1e-12), "holds")
    assert measured([1] * 5, above=0.5, bound="binomial").lower == pytest.approx(0.05 ** (1 / 5))
    assert measured([1] * 5, above=0.6, bound="binomial").verdict == "not shown"  # where t would be certain


def test_bootstrap_follows_a_skewed_tail_and_needs_ten_values():
    skewed = np.random.default_rng(0).lognormal(0, 1.5, 40)
    student, boot = (measured(skewed, above=0, bound=bound) for bound in ("t", "bootstrap"))
    assert boot.upper - boot.mean > 1.2 * (boot.mean - boot.lower)
    assert boot.upper > student.upper and boot.lower > student.lower
    assert measured(skewed, above=0, bound="bootstrap") == boot
    assert measured(skewed[:9], above=0, bound="bootstrap").verdict == "observation"
    assert measured([2.0] * 10, above=0, bound="bootstrap").lower == 2.0


@pytest.mark.parametrize("n", [5, 8, 50])
def test_median_verdicts_are_those_of_the_sign_test(n):
    found = set()
    for seed in range(60):
        values = (
            np.random.default_rng(seed).normal(0.5, 1.0, n).round(1)
        )  # with ties, and values on the threshold
        greater = stats.binomtest(int((values > 0).sum()), n, 0.5, alternative="greater").pvalue
        less = stats.binomtest(int((values < 0).sum()), n, 0.5, alternative="greater").pvalue
        verdict = "holds" if greater <= 0.05 else "contradicted" if less <= 0.05 else "not shown"
        result = measured(values, above=0.0, bound="median")
        assert (result.verdict, result.p) == (verdict, pytest.approx(min(greater, less), rel=1e-12))
        found.add(verdict)
    assert len(found) > 1


def test_median_bounds_are_the_order_statistics_of_the_tables():
    """Of 50 coins at most 17 show heads with a chance of 0.016, at most 18 with 0.032, at most 19 with 0.059."""
    values = np.random.default_rng(0).permutation(50) + 1.0
    one_sided, two_sided = (
        measured(values, bound="median", **rule) for rule in ({"above": 0}, {"between": (0, 60)})
    )
    assert (one_sided.lower, one_sided.upper) == (19, 32)
    assert (two_sided.lower, two_sided.upper) == (18, 33)
    assert measured(values[:5], between=(0, 60), bound="median").lower is None  # too few for 2.5 %


def test_the_median_takes_values_at_the_end_of_their_grid_as_they_are():
    """Ends on both sides leave a mean without bounds; a sixth of them on each side cannot move the median's."""
    values = np.linspace(0.1, 1.0, 30)
    ends = ["low"] * 5 + [""] * 20 + ["high"] * 5
    for rule in ({"above": 0.3}, {"below": 0.8}, {"between": (0.3, 0.8)}):
        assert measured(values, at_edge=ends, **rule).verdict == "not shown"
        result = measured(values, at_edge=ends, bound="median", **rule)
        free = measured(values, bound="median", **rule)
        assert (result.verdict, result.lower, result.upper) == ("holds", free.lower, free.upper)
        assert result.p == free.p < 0.05
        assert Claim.from_record(result.record()) == result
    assert (
        measured(values, at_edge=["both"] * 11 + [""] * 19, above=0.0, bound="median").verdict == "not shown"
    )


def test_a_median_is_shown_with_its_quartiles_and_what_lies_beyond():
    values = [-2.0, -2.0, -2.0, -1.0, 0.5, 0.25, 0.75]
    result = measured(values, below=1, bound="median", at_edge=["low", "low", "low", "", "", "", ""])
    assert result.number == "median -1.0, quartiles ≤ -2.0 and 0.5"
    assert "(7 values, each with its own data set; 7 of 7 on the claimed side)" in str(result)
    assert "95 % upper bound (median) 0.75 < 1" in result.evidence
    assert (
        measured([-2.0] * 6, below=0, bound="median", at_edge=["low"] * 6).number
        == "median ≤ -2, quartiles ≤ -2 and ≤ -2"
    )


@pytest.mark.parametrize("bound", ["t", "fisher", "bootstrap"])
def test_ninety_five_of_a_hundred_bounds_hold(bound):
    """Each one-sided bound misses the true mean in 5 % of trials, here to within five standard errors and the
    bootstrap's own error at 30 values."""
    trials = 300 if bound == "bootstrap" else 2000
    draws = 0.4 * np.random.default_rng(1).normal(size=(trials, 30))
    values = np.tanh(draws) if bound == "fisher" else draws
    missed = np.array(
        [(c.lower > 0, c.upper < 0) for c in (measured(v, above=0, bound=bound) for v in values)]
    )
    allowed = 5 * math.sqrt(0.05 * 0.95 / trials) + (0.02 if bound == "bootstrap" else 0)
    assert (np.abs(missed.mean(0) - 0.05) < allowed).all(), missed.mean(0)


@pytest.mark.parametrize(
    "rule", [{"above": 0.0}, {"below": 0.1}, {"between": (-0.2, 0.5)}, {"between": (0.3, 0.9)}]
)
@pytest.mark.parametrize("bound", ["t", "fisher", "median"])
def test_bounds_decide_exactly_where_p_is_below_five_percent(rule, bound):
    found = set()
    for seed in range(60):
        result = measured(np.tanh(np.random.default_rng(seed).normal(0.2, 0.4, 8)), bound=bound, **rule)
        assert (result.p < 0.05) == (result.verdict in ("holds", "contradicted"))
        found.add(result.verdict)
    assert len(found) > 1


# --- where two things vary ---

PHOTOS = ["a", "b", "c", "d", "e", "f"]


def by_photo(values, **more):
    """Values (photos, starts) as a claim that clusters them."""
    photos, starts = values.shape
    return measured(
        values.ravel(),
        seeds=list(range(starts)) * photos,
        clusters=np.repeat(PHOTOS[:photos], starts),
        varies=("photo", "network start"),
        **more,
    )


def test_clusters_bound_the_mean_of_their_means():
    values = np.random.default_rng(0).normal(0, 0.1, (6, 4)) + np.arange(6)[:, None]
    result = by_photo(values, above=0)
    means = values.mean(1)
    assert result.lower == pytest.approx(
        stats.ttest_1samp(means, 0, alternative="greater").confidence_interval(0.95).low, rel=1e-12
    )
    assert result.sd == pytest.approx(means.std(ddof=1))
    assert result.sd_within == pytest.approx(math.sqrt(values.var(1, ddof=1).mean()))
    assert (result.independent, result.favourable) == (6, (means > 0).sum())
    assert "6 photos, each with 4 network starts, sd 0." in str(result)
    assert Claim.from_record(result.record()) == result


def test_many_starts_on_few_photos_are_an_observation():
    values = np.random.default_rng(0).normal(5, 0.1, (3, 50))
    assert by_photo(values, above=0).verdict == "observation"
    assert "too few values" in by_photo(values, above=0).evidence


def test_clusters_keep_the_error_rate_that_pooling_loses():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(1500, 6, 1)) + 0.3 * rng.normal(size=(1500, 6, 4))
    clustered = np.mean([by_photo(v, above=0).verdict == "holds" for v in values])
    pooled = np.mean([measured(v.ravel(), above=0).verdict == "holds" for v in values])
    assert abs(clustered - 0.05) < 5 * math.sqrt(0.05 * 0.95 / 1500)
    assert pooled > 0.12


# --- mixing, edges, too few values ---


@pytest.mark.parametrize("rule", [{"above": 0.0}, {"below": 0.0}, {"between": (0.2, 0.5)}])
def test_chains_beyond_the_line_leave_no_verdict(rule):
    assert measured(rhat=[1.0, 1.04], rhat_limit=1.05, **rule) == measured(rhat=1.04, rhat_limit=1.05, **rule)
    assert measured(rhat=1.05, rhat_limit=1.05, **rule).verdict == measured(**rule).verdict
    result = measured(rhat=torch.tensor([1.0, 1.2]), rhat_limit=1.05, **rule)
    assert result.verdict == "not mixed"
    assert "R-hat 1.2 is above the line of 1.05" in str(result)
    assert "worst R-hat 1.04, line 1.05" in str(measured(rhat=1.04, rhat_limit=1.05, **rule))
    assert "R-hat 1.0501 is above" in str(measured(rhat=1.05012, rhat_limit=1.05, **rule))


def test_a_value_at_the_end_of_its_grid_bounds_one_side_only():
    low = {"at_edge": ["low", "", "", "", "", ""]}
    below = measured(below=0.5, **low)
    assert below.verdict == "holds" and below.lower is None and below.number.startswith("≤ ")
    assert "1 of 6 values lie at the end of their grid" in str(below)
    assert measured(above=0.0, **low).verdict == "not shown"
    assert measured(above=0.5, **low).verdict == "contradicted"
    assert "−∞ and" in measured(above=0.0, **low).evidence
    high = {"at_edge": ["", "", "high", "", "", ""]}
    assert measured(above=0.0, **high).verdict == "holds"
    assert measured(below=0.5, **high).verdict == "not shown"
    assert measured(at_edge=[""] * 6, above=0.0).lower == measured(above=0.0).lower
    assert json.loads(json.dumps(below.record(), allow_nan=False)) == below.record()


@pytest.mark.parametrize("edge", ["low", "high", "both"])
def test_a_value_at_the_end_of_its_grid_never_counts_as_near(edge):
    result = measured(at_edge=[edge] + [""] * 5, between=(0.0, 0.5))
    assert (result.verdict, result.favourable) == ("not shown", 5)
    assert measured(between=(0.0, 0.5)).favourable == 6
    assert result.p == 1.0


def test_fewer_than_five_values_are_an_observation():
    assert measured([9.0, 9.1, 9.2, 9.3], above=0).verdict == "observation"
    assert measured([9.0, 9.1, 9.2, 9.3, 9.4], above=0).verdict == "holds"


# --- several runs together ---


def run_of(monkeypatch, shift, values=VALUES, **more):
    monkeypatch.setenv("BDL_SEED", str(shift))
    more.setdefault("seeds", [1000 * shift + i for i in range(len(values))])
    return measured(values, above=0.2, **more)


def test_runs_combine_into_one_claim_over_all_values(monkeypatch):
    runs = [run_of(monkeypatch, k, [v + 0.002 * k for v in VALUES]) for k in range(1, 5)]
    assert [run.verdict for run in runs] == ["not shown"] * 4
    together = combined(runs)
    assert (together.verdict, together.independent) == ("holds", 24)
    assert together.values == tuple(v for run in runs for v in run.values)
    assert combined(runs[:1]) == runs[0]


def test_runs_add_no_photos(monkeypatch):
    runs = [run_of(monkeypatch, k, seeds=PHOTOS, varies="photo") for k in range(1, 4)]
    together = combined(runs)
    assert (together.independent, together.lower) == (6, pytest.approx(runs[0].lower))
    assert together.clusters == tuple(PHOTOS * 3)
    starts = {"clusters": ["a"] * 3 + ["b"] * 3, "varies": ("photo", "sampler")}
    runs = [run_of(monkeypatch, k, seeds=[3 * k, 3 * k + 1, 3 * k + 2] * 2, **starts) for k in (1, 2)]
    assert combined(runs).independent == 2
    with pytest.raises(ValueError, match="different in a cluster"):
        combined([run_of(monkeypatch, k, seeds=[0, 1, 2] * 2, **starts) for k in (1, 2)])


def test_combined_runs_have_mixed_where_nine_of_ten_have(monkeypatch):
    good = [run_of(monkeypatch, k, rhat=1.01, rhat_limit=1.1) for k in range(1, 10)]
    bad = [run_of(monkeypatch, k, rhat=1.5, rhat_limit=1.1) for k in (10, 11)]
    assert combined(good + bad[:1]).verdict == "holds"
    assert combined(good[1:] + bad).verdict == "not mixed"


def test_combined_keeps_the_edges(monkeypatch):
    runs = [run_of(monkeypatch, 1), run_of(monkeypatch, 2, at_edge=["low"] + [""] * 5)]
    assert combined(runs).lower is None
    assert combined(runs).at_edge == ("",) * 6 + ("low",) + ("",) * 5


def test_runs_of_different_claims_do_not_combine(monkeypatch):
    with pytest.raises(ValueError, match="their threshold differs"):
        combined([measured(above=0), run_of(monkeypatch, 1)])
    with pytest.raises(ValueError, match="on different seeds"):
        combined([run_of(monkeypatch, 1), run_of(monkeypatch, 1)])
    with pytest.raises(ValueError, match="at least one"):
        combined([])


def test_a_claim_is_measured_again_with_another_runs_values(monkeypatch):
    first = run_of(monkeypatch, 0, rhat=1.0, rhat_limit=1.1, at_edge=["low"] + [""] * 5)
    second = run_of(monkeypatch, 7, [v - 1 for v in VALUES], rhat=1.2, rhat_limit=1.1)
    assert first.again(second.values, second.seeds, seed_shift=7000, rhat=1.2) == second
    assert first.verdict != second.verdict == "not mixed"
    assert first.again(VALUES, first.seeds, seed_shift=0).rhat_limit is None


def test_a_record_without_its_unit_is_refused():
    record = measured(above=0).record()
    record.pop("varies")
    with pytest.raises(ValueError, match="'a-name' does not say what varies from value to value"):
        Claim.from_record(record)


def test_every_unit_has_a_plural_and_can_be_said():
    for name in UNITS:
        assert f"each with its own {name}" in str(measured(above=0, varies=name))


# --- what goes in ---


@pytest.mark.parametrize(
    "values",
    [
        tuple(VALUES),
        np.array(VALUES),
        np.array(VALUES, dtype=np.float32),
        torch.tensor(VALUES, requires_grad=True),
        [torch.tensor(v) for v in VALUES],
        (v for v in VALUES),
    ],
    ids=["tuple", "numpy", "float32", "tensor", "list of tensors", "generator"],
)
def test_values_may_be_any_row_of_numbers(values):
    result = claim("a-name", "A statement.", values, quantity="gain", above=0, seeds=SEEDS, varies="split")
    assert result.values == pytest.approx(VALUES, rel=1e-6)
    assert all(type(v) is float for v in result.values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"above": None}, "exactly one of above, below or between; got none"),
        ({"below": 1.0}, "got above and below"),
        ({"above": math.nan}, "above must be finite"),
        ({"above": "0"}, "above must be finite, a plain number"),
        ({"above": None, "between": (1, 0)}, "low < high"),
        ({"above": None, "between": (0, 1, 2)}, "low, high"),
        ({"above": None, "between": 3}, "low, high"),
        ({"values": [1.0, math.nan, 2, 3, 4, 5]}, "item 1 is nan"),
        ({"values": [1.0, 2, 3, 4, 5, math.inf]}, "item 5 is inf"),
        ({"values": [1e308, -1e308, 1e308, 1, 2, 3]}, "too large"),
        ({"values": "123456"}, "values must be"),
        ({"values": [True] * 6}, "values must be"),
        ({"values": [[1.0, 2.0]] * 6}, "values must be"),
        ({"values": [1.0, [2.0], 3, 4, 5, 6]}, "values must be a list"),
        ({"values": 1.0}, "values must be a list"),
        ({"values": []}, "non-empty"),
        ({"values": [1.0, 2.0]}, "2 values for 6 seeds"),
        ({"values": [1.0], "seeds": [0]}, "at least 2 independent values .* got 1 values"),
        ({"varies": "seed"}, "varies must say what is another one .* data set, .* got 'seed'"),
        ({"varies": ()}, "varies must say"),
        ({"varies": None}, "varies must say"),
        ({"varies": ("split", "split")}, "each unit once"),
        ({"fixed": 3}, "fixed must be a text"),
        ({"clusters": [0, 0, 0, 1, 1, 1]}, "varies must name what differs between them"),
        ({"clusters": [0, 1], "varies": ("photo", "sampler")}, "6 values for 2 clusters"),
        ({"clusters": [0.5] * 6, "varies": ("photo", "sampler")}, "clusters must be a list of whole numbers"),
        ({"clusters": ["a"] * 6, "varies": ("photo", "sampler")}, "at least 2 .* got 1 clusters"),
        ({"bound": "normal"}, "bound must be one of t, fisher, binomial, bootstrap, median; got 'normal'"),
        ({"bound": "fisher", "values": [0, 0, 0, 0, 0, 1.5]}, r"lie in \[-1, 1\]"),
        ({"bound": "binomial"}, "a 0 or a 1 for each value"),
        (
            {"bound": "binomial", "values": [0, 1] * 3, "clusters": "aabbcc", "varies": ("photo", "sampler")},
            "clusters must be a list",
        ),
        (
            {
                "bound": "binomial",
                "values": [0, 1] * 3,
                "clusters": list("aabbcc"),
                "varies": ("photo", "sampler"),
            },
            "for independent values",
        ),
        ({"rhat": 1.01}, "rhat and rhat_limit, .* come together"),
        ({"rhat_limit": 1.01}, "rhat and rhat_limit, .* come together"),
        ({"rhat": 1.01, "rhat_limit": 1.0}, "rhat_limit must be a number above 1"),
        ({"rhat": math.nan, "rhat_limit": 1.1}, "rhat must be finite"),
        ({"rhat": "low", "rhat_limit": 1.1}, "rhat must be"),
        ({"at_edge": ["low"]}, "at_edge must hold .* each of the 6 values"),
        ({"at_edge": ["left"] * 6}, "at_edge must hold"),
        ({"at_edge": "low"}, "at_edge must hold"),
        ({"seeds": [0, 1, 2, 3, 4, 4]}, "all be different"),
        ({"seeds": [0.5, 1, 2, 3, 4, 5]}, "seeds must be a list of whole numbers, or of names"),
        ({"seeds": 6}, "seeds must be a list of whole numbers, or of names"),
        ({"name": "Not a slug"}, "lower-case words joined by hyphens"),
        ({"name": ""}, "name must be a text"),
        ({"statement": " "}, "statement must be a text"),
        ({"quantity": None}, "quantity must be a text"),
    ],
)
def test_bad_input_is_named(wrong, message):
    good = {"name": "a", "statement": "s", "values": VALUES, "quantity": "q", "above": 0.0, "seeds": SEEDS}
    with pytest.raises(ValueError, match=message):
        claim(**good | {"varies": "data set"} | wrong)


def test_the_unit_must_be_stated():
    with pytest.raises(TypeError, match="varies"):
        claim("a", "s", VALUES, quantity="q", above=0.0, seeds=SEEDS)


def test_bad_seed_shift_is_named(monkeypatch):
    monkeypatch.setenv("BDL_SEED", "two")
    with pytest.raises(ValueError, match="BDL_SEED must be a whole number, 0 or more; got 'two'"):
        measured(above=0)


def test_the_verdict_cannot_be_passed_in():
    with pytest.raises(TypeError):
        measured(above=0, verdict="holds")


# --- what comes out ---


def test_record_holds_everything_as_json(monkeypatch):
    monkeypatch.setenv("BDL_SEED", "3")
    monkeypatch.setenv("BDL_SCALE", "paper")
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/lessons/2_priors/04_images.ipynb")
    record = measured(above=0, seeds=range(3000, 3006)).record()
    assert json.loads(json.dumps(record)) == record
    assert record["seeds"] == list(range(3000, 3006))
    assert (record["seed_shift"], record["scale"], record["lesson"]) == (3000, "paper", "2_priors/04_images")
    assert record["values"] == VALUES
    assert Claim.from_record(record).record() == record


@pytest.mark.parametrize("rule", [{"above": 0}, {"below": 0.2}, {"between": (0.1, 1)}])
def test_an_edited_record_is_refused(rule):
    record = measured(**rule).record()
    assert Claim.from_record(record) == measured(**rule)
    for field, value in {"verdict": "certain", "mean": 9.0, "share": 0.9, "sd": 0.0, "lower": 0.2}.items():
        with pytest.raises(ValueError, match="Execute the notebook again"):
            Claim.from_record(record | {field: value})
    with pytest.raises(ValueError, match="Not a claim record"):
        Claim.from_record({"name": "a"})


def test_line_is_readable_and_safe_in_html():
    line = claim(
        "a",
        "p < 1 & <b>q</b>",
        VALUES,
        quantity="gain",
        unit="nats",
        regime="20 points",
        above=0,
        seeds=SEEDS,
        varies=("split", "network start"),
        fixed="the same 1,797 images",
    )
    bundle = line._repr_mimebundle_()
    assert bundle["text/plain"] == str(line)
    assert "\n" not in str(line)
    for part in (
        "Holds",
        "[20 points]",
        "0.247 ± 0.099 nats",
        "6 of 6",
        "95 % lower bound 0.165 > 0",
        "6 values, each with its own split and network start; fixed: the same 1,797 images",
    ):
        assert part in str(line)
    assert "<b>q</b>" not in bundle["text/html"]
    assert "p &lt; 1 &amp;" in bundle["text/html"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([12345.0, 12355, 12365], "12355 ± 10"),
        ([0.001, 0.002, 0.003], "0.0020 ± 0.0010"),
        ([1e-9, 2e-9, 3e-9], "2e-09 ± 1e-09"),
        ([2e9, 3e9, 4e9], "3e+09 ± 1e+09"),
        ([7.0, 7, 7], "7 every time"),
    ],
)
def test_numbers_show_two_digits_of_the_spread(values, shown):
    assert measured(values, above=0).number == shown


def test_a_close_bound_shows_enough_digits_to_be_on_its_side():
    result = measured([0.95012, 0.95013, 0.95014, 0.95012, 0.95014], above=0.95)
    assert result.verdict == "holds"
    shown = float(result.evidence.split("bound ")[1].split(" >")[0])
    assert shown > 0.95


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"above": 0.24}, "do not decide whether it is > 0.24"),
        ({"above": 0.5}, "upper bound .* < 0.5"),
        ({"below": 0.5}, "upper bound .* < 0.5"),
        ({"below": 0.0}, "lower bound .* > 0"),
        ({"between": (0, 1)}, "inside 0 to 1"),
        ({"between": (0.2, 1)}, "partly outside 0.2 to 1"),
        ({"between": (2, 3)}, "is outside 2 to 3"),
    ],
)
def test_evidence_says_what_decided(rule, says):
    assert re.search(says, measured(**rule).evidence)


# --- reading it back from a notebook ---


def notebook(*claims):
    outputs = [{"output_type": "display_data", "data": {MIME: c.record()}, "metadata": {}} for c in claims]
    return {"cells": [{"cell_type": "markdown", "source": ""}, {"cell_type": "code", "outputs": outputs}]}


def test_stored_claims_come_back_in_order(tmp_path, monkeypatch):
    path = tmp_path / "lessons" / "1_unit" / "01_one.ipynb"
    path.parent.mkdir(parents=True)
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    first = measured(above=0)
    second = claim("other", "B.", VALUES, quantity="q", below=0, seeds=SEEDS, varies="noise")
    path.write_text(json.dumps(notebook(first, second, first)))
    assert stored_claims(path) == [first, second]
    path.rename(path.with_name("02_two.ipynb"))
    with pytest.raises(ValueError, match="of the lesson '1_unit/01_one'"):
        stored_claims(path.with_name("02_two.ipynb"))


def test_two_claims_of_one_name_are_refused():
    with pytest.raises(ValueError, match="Two different claims"):
        stored_claims(notebook(measured(above=0), measured(below=0)))
